package cache

// LFU evicts the slot whose neuron was used least often, where a use counts the
// less the longer ago it was: half after halfLife uses for each slot.
//
// It is LRFU (Lee et al., IEEE Trans. Computers 50(12), 2001), with two changes.
// A neuron's score outlives its eviction, as in TinyLFU (Einziger et al., ACM
// Trans. Storage 13(4), 2017): the neurons are few enough for a number each, and
// so one that returns does not begin anew, and a profile's counts can be there
// before the first token. And ageing costs nothing: instead of all scores
// falling, what a use counts grows, until everything is scaled down at once.
//
// So scores only rise. The heap that finds the lowest is therefore lazy: a slot
// stands in it by a score that it once had, which is at most the one it has, and
// only when it comes to the top is it put where it belongs. A hit is one
// addition; an eviction takes log(slots) for every slot that was used since it
// was last at the top and would come there.
//
// Rejected: a ring list of equal counts (O(1), but without ageing), sampling a
// few slots for the lowest (cheaper evictions that miss more).
type LFU struct {
	score  []float32 // [ffn] uses, the latest counting unit
	unit   float64
	growth float64 // of unit, by each use

	neuron []int32 // [slots]
	heap   []entry // slots that may be emptied, the lowest on top; cap slots
	aside  []int32 // ring of the slots that are not in the heap; len slots
	first  int     // of aside
	n      int     // in aside
	known  []bool  // [slots] in heap or aside
	// released says that slots may have come out of use since aside was looked
	// through: once for the evictions of a token, which are between its hits.
	released bool
}

// entry is a slot in the heap.
type entry struct {
	score float32
	slot  int32
}

const (
	// halfLife is how many uses for each slot it takes until a use counts half:
	// from 16 to 64 nothing is won or lost on text, while independent draws want
	// it long; see docs/cache.md.
	halfLife = 32
	// largestUnit is when scores are scaled down: they stay far from overflow,
	// and what is lost below 1/largestUnit counts for nothing.
	largestUnit = 1 << 40
)

// NewLFU makes an LFU of slots slots for a layer of ffn neurons. before, if not
// nil, is how often each was used before, in the recent past.
func NewLFU(ffn, slots int, before []uint32) *LFU {
	uses := halfLife * float64(max(slots, 1))
	l := &LFU{
		score:  make([]float32, ffn),
		unit:   1,
		growth: 1 + ln2/uses,
		neuron: make([]int32, slots),
		heap:   make([]entry, 0, slots),
		aside:  make([]int32, slots),
		known:  make([]bool, slots),
	}
	all := 0.0
	for _, n := range before {
		all += float64(n)
	}
	// A past without beginning adds up to uses/ln2; a longer text counts no
	// more than that.
	weight := min(1, uses/ln2/max(all, 1))
	for i, n := range before {
		l.score[i] = float32(weight * float64(n))
	}
	return l
}

const ln2 = 0.6931471805599453

// Insert says that neuron is in slot.
func (l *LFU) Insert(slot, neuron int) {
	l.neuron[slot] = int32(neuron)
	if !l.known[slot] {
		l.known[slot] = true
		l.setAside(int32(slot))
		return
	}
	// The slot's last neuron was forgotten, and may have had a higher score.
	for i := range l.heap {
		if l.heap[i].slot == int32(slot) {
			l.heap[i].score = 0
			l.up(i)
			return
		}
	}
}

// Hit counts a use.
func (l *LFU) Hit(slot int) {
	l.released = true
	l.score[l.neuron[slot]] += float32(l.unit)
	if l.unit *= l.growth; l.unit > largestUnit {
		l.scaleDown()
	}
}

// scaleDown makes a use count 1 again. Division by a power of two keeps order.
func (l *LFU) scaleDown() {
	l.unit /= largestUnit
	for i := range l.score {
		l.score[i] /= largestUnit
	}
	for i := range l.heap {
		l.heap[i].score /= largestUnit
	}
}

// Victim is the evictable slot with the lowest score.
func (l *LFU) Victim(evictable func(int) bool) int {
	if !l.lowest(evictable) {
		return -1
	}
	slot := l.pop().slot
	l.known[slot] = false
	return int(slot)
}

// lowest brings the evictable slot with the lowest score to the top of the
// heap. It reports false if there is none.
func (l *LFU) lowest(evictable func(int) bool) bool {
	for range 2 {
		if l.released || len(l.heap) == 0 {
			l.released = false
			l.readmit(evictable)
		}
		for len(l.heap) > 0 {
			top := &l.heap[0]
			if now := l.score[l.neuron[top.slot]]; now > top.score {
				top.score = now
				l.down(0)
				continue
			}
			if evictable(int(top.slot)) {
				return true
			}
			l.setAside(l.pop().slot)
		}
	}
	return false
}

// readmit puts slots back into the heap that are no longer in use.
func (l *LFU) readmit(evictable func(int) bool) {
	for range l.n {
		slot := l.aside[l.first]
		l.first, l.n = (l.first+1)%len(l.aside), l.n-1
		if evictable(int(slot)) {
			l.push(entry{l.score[l.neuron[slot]], slot})
		} else {
			l.setAside(slot)
		}
	}
}

// setAside keeps a slot out of the heap while it is in use.
func (l *LFU) setAside(slot int32) {
	l.aside[(l.first+l.n)%len(l.aside)] = slot
	l.n++
}

// push puts an entry into the heap.
func (l *LFU) push(e entry) {
	l.heap = append(l.heap, e)
	l.up(len(l.heap) - 1)
}

// up moves entry i up to where it belongs.
func (l *LFU) up(i int) {
	h, e := l.heap, l.heap[i]
	for i > 0 {
		above := (i - 1) / 2
		if h[above].score <= e.score {
			break
		}
		h[i] = h[above]
		i = above
	}
	h[i] = e
}

// pop takes the top off the heap.
func (l *LFU) pop() entry {
	top, last := l.heap[0], len(l.heap)-1
	l.heap[0] = l.heap[last]
	l.heap = l.heap[:last]
	if last > 0 {
		l.down(0)
	}
	return top
}

// down moves entry i down to where it belongs.
func (l *LFU) down(i int) {
	h, e := l.heap, l.heap[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].score < h[child].score {
			child++
		}
		if h[child].score >= e.score {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = e
}
