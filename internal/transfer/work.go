package transfer

import (
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// Work is the neurons that one layer computes for some tokens, as segments to
// be computed one after the other:
//
//	for w.Next() {
//		up(w.Segment(), w.Ready())
//		err := w.Arrive()
//		up(w.Segment(), w.Late())
//		down(w.Segment())
//	}
//	w.Close()
type Work struct {
	c      *TransferCoordinator
	layer  int
	tokens int
	dense  bool // computes activations that are 0 like any other
	ids    []int32
	slots  []int32
	wants  []uint64

	segments []segment
	current  int // segment being computed, -1 before the first

	ring        []int32 // indices of the neurons that come through the ring
	ready, late []int32 // indices in the current segment

	missing int  // neurons whose slots fetch has still to find
	used    bool // of release: carried through

	unchecked []int32 // slots of neurons that are ready but for their checksums
	failed    error   // of check

	idBuf, slotBuf, grants []int32
}

// segment is the neurons lo to hi of a Work, those of Work.ring from ringLo to
// ringHi among them.
type segment struct {
	lo, hi, ringLo, ringHi int
}

// slotsFor is n slots to be filled in.
func (w *Work) slotsFor(n int) []int32 {
	if cap(w.slotBuf) < n {
		w.slotBuf = make([]int32, len(w.c.all))
	}
	return w.slotBuf[:n]
}

// emptyWork is the one Work, for neurons ids that are still to be looked up.
func (c *TransferCoordinator) emptyWork(layer, tokens int, ids []int32, wants []uint64, decode bool) *Work {
	w := &c.work
	w.dense = !c.SkipZero || c.mode(layer, decode) == config.Dense
	w.layer, w.tokens, w.ids, w.wants = layer, tokens, ids, wants
	w.slots, w.current = w.slotsFor(len(ids)), -1
	w.segments, w.ring, w.grants, w.missing = w.segments[:0], w.ring[:0], w.grants[:0], 0
	w.unchecked, w.failed = w.unchecked[:0], nil
	return w
}

// newWork finds or makes room for the neurons ids and starts the first reads.
func (c *TransferCoordinator) newWork(layer, tokens int, ids []int32, wants []uint64, decode bool) *Work {
	c.order(layer)
	w := c.emptyWork(layer, tokens, ids, wants, decode)
	// A set larger than the cache would evict what other tokens want and
	// still not be whole for the next token that wants the same.
	evict := decode && len(ids) <= c.Cache.Slots(layer)
	w.grants = c.Cache.Acquire(layer, ids, w.slots, evict, w.grants)
	c.read(layer, ids, w.slots, w.grants)
	w.cut()
	w.count()
	w.startSegment(0)
	w.startSegment(1)
	c.later(c.submit) // some 4 us a read, of one thread
	return w
}

// quickWork is newWork for few enough neurons that they are probably one
// segment, and have slots, of which some may have to be emptied. Those that are
// there can be computed at once: room for the others is made beside.
func (c *TransferCoordinator) quickWork(layer, tokens int, ids []int32, wants []uint64) *Work {
	w := c.emptyWork(layer, tokens, ids, wants, true)
	w.missing = c.Cache.Pin(layer, ids, w.slots)
	if len(ids) > 0 {
		w.segments = append(w.segments, segment{hi: len(ids)})
	}
	c.later(c.fetch)
	return w
}

// fetch starts a quickWork's reads. Where the policy gives no room they go
// through the ring, whose size may make several segments of the one: Late and
// Segment say so after Arrive.
func (w *Work) fetch() {
	c := w.c
	c.reapBut(w.ids)
	if w.missing > 0 {
		w.grants = c.Cache.Grant(w.layer, w.ids, w.slots, true, w.grants)
		c.read(w.layer, w.ids, w.slots, w.grants)
		if w.missing > len(w.grants) {
			w.cut()
			w.startSegment(0)
			w.startSegment(1)
			n, _ := slices.BinarySearch(w.late, int32(w.segments[0].hi))
			w.late = w.late[:n]
		}
		c.submit()
		w.missing = 0
	}
	w.count()
}

// most is how many neurons of so many tokens a segment has at most.
func (c *TransferCoordinator) most(tokens int) int { return max(1, c.Hidden/tokens) }

// cut makes the segments and gives each neuron without a slot one of the
// ring's.
func (w *Work) cut() {
	half := w.c.RingSlots / 2
	most := w.c.most(w.tokens)
	w.segments, w.ring = w.segments[:0], w.ring[:0]
	seg := segment{}
	for i, s := range w.slots {
		if i-seg.lo == most || s < 0 && len(w.ring)-seg.ringLo == half {
			seg.hi, seg.ringHi = i, len(w.ring)
			w.segments = append(w.segments, seg)
			seg = segment{lo: i, ringLo: len(w.ring)}
		}
		if s < 0 {
			at := len(w.segments)%2*half + len(w.ring) - seg.ringLo
			w.slots[i] = int32(w.c.RingFirst + at)
			w.ring = append(w.ring, int32(i))
		}
	}
	if seg.hi, seg.ringHi = len(w.slots), len(w.ring); seg.hi > seg.lo {
		w.segments = append(w.segments, seg)
	}
}

// count adds the work to the statistics. A neuron that Lookahead read and that
// is read again all the same, because that failed or it was evicted meanwhile,
// is one miss.
func (w *Work) count() {
	st, grants, fresh := &w.c.Stats, w.grants, w.c.fresh
	early, wasted := len(fresh), st.Wasted
	for i, id := range w.ids {
		for len(fresh) > 0 && fresh[0] < id {
			fresh = fresh[1:]
			st.Wasted++
		}
		read := int(w.slots[i]) >= w.c.RingFirst
		if len(grants) > 0 && grants[0] == int32(i) {
			grants, read = grants[1:], true
		}
		if len(fresh) > 0 && fresh[0] == id {
			fresh, read = fresh[1:], true
		}
		if read {
			st.Misses++
		}
	}
	st.Wasted += int64(len(fresh))
	w.c.guesses[w.layer].judge(early, int(st.Wasted-wasted))
	st.Wanted += int64(len(w.ids))
	w.c.fresh = w.c.fresh[:0]
}

// startSegment starts the reads of the i-th segment's half of the ring.
func (w *Work) startSegment(i int) {
	if i >= len(w.segments) {
		return
	}
	if seg := w.segments[i]; seg.ringHi > seg.ringLo {
		w.c.read(w.layer, w.ids, w.slots, w.ring[seg.ringLo:seg.ringHi])
	}
}

// Next goes to the next segment, whose neurons it sorts into those that are
// there and those that are on their way.
func (w *Work) Next() bool {
	w.current++
	if w.current >= len(w.segments) {
		return false
	}
	if w.current > 0 {
		// The half of the ring that the last segment used is free again.
		w.startSegment(w.current + 1)
		w.c.later(w.c.submit)
	}
	seg := w.segments[w.current]
	w.ready, w.late = w.ready[:0], w.late[:0]
	if w.c.flying == 0 && w.missing == 0 {
		w.ready = append(w.ready, w.c.all[:seg.hi-seg.lo]...)
		return true
	}
	w.c.Transfer.Poll()
	for i, s := range w.slots[seg.lo:seg.hi] {
		if s < 0 {
			w.late = append(w.late, int32(i))
			continue
		}
		if r := w.c.inflight[s]; r != nil {
			if !r.Arrived() { // Arrive reports an error
				w.late = append(w.late, int32(i))
				continue
			}
			w.unchecked = append(w.unchecked, s)
		}
		w.ready = append(w.ready, int32(i))
	}
	if len(w.unchecked) > 0 {
		w.c.later(w.c.check)
	}
	return true
}

// check checks what came with the neurons that are ready.
func (w *Work) check() {
	for _, s := range w.unchecked {
		if err := w.c.arrived(w.layer, s); err != nil && w.failed == nil {
			w.failed = err
		}
	}
	w.unchecked = w.unchecked[:0]
}

// Segment is the neurons of the current segment. Arrive may find that it must
// be shorter: what Up made of the neurons behind its end is then of no use.
func (w *Work) Segment() device.Work {
	seg := w.segments[w.current]
	d := device.Work{
		IDs:      w.ids[seg.lo:seg.hi],
		Slots:    w.slots[seg.lo:seg.hi],
		Bias:     w.c.Bias[w.layer],
		Act:      w.c.Profile.Activation,
		SkipZero: !w.dense,
	}
	if w.wants != nil {
		d.WantWords = wantWords(w.tokens)
		d.Wants = w.wants[seg.lo*d.WantWords : seg.hi*d.WantWords]
	}
	return d
}

// Ready is the indices, in the current segment, of neurons that were there
// when it began. Whether those that have just come are whole is known after
// Arrive.
func (w *Work) Ready() []int32 { return w.ready }

// Late is the indices of the others, which are known and there after Arrive.
func (w *Work) Late() []int32 { return w.late }

// Arrive waits for the late neurons.
func (w *Work) Arrive() error {
	w.c.catchUp()
	if w.failed != nil || len(w.late) == 0 {
		return w.failed
	}
	begin := time.Now()
	defer func() { w.c.Stats.Stall += time.Since(begin) }()
	seg := w.segments[w.current]
	for _, i := range w.late {
		if err := w.c.arrived(w.layer, w.slots[seg.lo+int(i)]); err != nil {
			return err
		}
	}
	return nil
}

// Close unpins everything. Where the work was not carried through, it first
// waits for the reads that were started, since they write to the slots.
func (w *Work) Close() {
	w.c.catchUp()
	for _, s := range w.slots {
		if w.c.flying == 0 {
			break
		}
		if r := w.c.inflight[s]; r != nil {
			if !w.c.Transfer.Async() && !r.Done() {
				// Nobody will run it now.
				w.c.drop(s)
				if int(s) < w.c.RingFirst {
					w.c.Cache.Forget(w.layer, s)
				}
				continue
			}
			_ = w.c.arrived(w.layer, s)
		}
	}
	// Every neuron of a layer used says nothing about any of them.
	w.used = w.current >= len(w.segments) && len(w.ids) < len(w.c.all)
	w.c.later(w.c.release)
}

// release unpins the slots.
func (w *Work) release() { w.c.Cache.Release(w.layer, w.slots, w.used) }
