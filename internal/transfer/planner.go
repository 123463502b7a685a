package transfer

import (
	"cmp"
	"slices"
)

// planner turns what is wanted and what is in fast memory into plans. Its
// fields never change and its methods touch nothing but the plan they make.
type planner struct {
	firstStaging int // number of the first staging slot
	half         int // staging slots that one segment may use
	// places is where each unit lies in its layer's part of the pack,
	// [layers][units]; nil: in the order of units.
	places [][]int32
	// join reports whether a run of so many units, a gap of units that nobody
	// wants, and one more unit are cheaper to read together.
	join   func(run, gap int) bool
	maxRun int // most units of a run
}

// maxRun is the most units of one run of several that are read at a time.
// Longer ones would not be faster, and shorter ones keep the disk busier.
const maxRun = 32

func newPlanner(firstStaging int, o Options) planner {
	p := planner{firstStaging: firstStaging, half: o.Memory.Staging / 2, places: o.Reader.Places, maxRun: maxRun}
	if !o.Reader.Transfer.Async() {
		p.maxRun = o.Units // one long read is the fastest where none overlap
	}
	join, stride := o.Reader.Join, o.Memory.Slots.Stride
	p.join = func(run, gap int) bool {
		return join != nil && join(int64(run)*stride, int64(gap)*stride, stride)
	}
	return p
}

// NeuronTransferPlan is how the wanted units of one layer come to be computed:
// in segments, one after the other, each in fast memory at once.
type NeuronTransferPlan struct {
	IDs   []int32 // wanted, ascending
	Slots []int32 // [IDs] where each is; -1 for a miss that has no place yet
	// Misses are the indices of units to read, ascending, and Staging the
	// staging slot that each gets if the cache gives it none; -1 for misses
	// for which the cache has free slots.
	Misses, Staging []int32
	Segments        []span
}

// span is the units lo to hi of a plan, among them the misses missLo to missHi.
type span struct{ lo, hi, missLo, missHi int }

// segment fills in Misses, Staging and Segments, given IDs and Slots. free is
// how many misses are sure to get a slot of the cache, the first ones; most is
// the most units of a segment.
//
// Whether the cache makes room for more misses is not known yet. A segment has
// therefore no more of them than one half of the staging slots holds, and
// segments take the halves in turn.
func (p *planner) segment(n *NeuronTransferPlan, free, most int) {
	n.Misses, n.Staging, n.Segments = n.Misses[:0], n.Staging[:0], n.Segments[:0]
	seg, staged := span{}, 0
	for i, slot := range n.Slots {
		stages := slot < 0 && len(n.Misses) >= free
		if i-seg.lo == most || stages && staged == p.half {
			seg.hi, seg.missHi = i, len(n.Misses)
			n.Segments = append(n.Segments, seg)
			seg, staged = span{lo: i, missLo: len(n.Misses)}, 0
		}
		if slot >= 0 {
			continue
		}
		to := -1
		if stages {
			to = p.firstStaging + len(n.Segments)%2*p.half + staged
			staged++
		}
		n.Misses, n.Staging = append(n.Misses, int32(i)), append(n.Staging, int32(to))
	}
	if seg.hi, seg.missHi = len(n.Slots), len(n.Misses); seg.hi > seg.lo {
		n.Segments = append(n.Segments, seg)
	}
}

// stage gives its staging slot to every miss that has no slot.
func (n *NeuronTransferPlan) stage() {
	for k, i := range n.Misses {
		if n.Slots[i] < 0 {
			n.Slots[i] = n.Staging[k]
		}
	}
}

// staged appends to which the indices of the units of a segment that are in
// staging slots.
func (n *NeuronTransferPlan) staged(which []int32, segment int) []int32 {
	seg := n.Segments[segment]
	for k := seg.missLo; k < seg.missHi; k++ {
		if i := n.Misses[k]; n.Slots[i] == n.Staging[k] {
			which = append(which, i)
		}
	}
	return which
}

// run is one read: units that lie next to each other in the pack, or so near
// that what lies between is cheaper to read than to leave out.
type run struct {
	first int32   // place of the first
	slots []int32 // of the places from first on, -1 for units that nobody wants
}

// reads is runs, and the memory to plan the next ones in.
type reads struct {
	runs  []run
	slots []int32 // of the runs, one after the other
	order []destination
}

// destination is a place in the pack and the slot that it is read into.
type destination struct{ place, slot int32 }

// reads plans to read the units ids[i] into slots[i], for the indices i in
// which. This alone minds the order of a pack; all else counts units as the
// checkpoint does, so that sums have the same order whatever the pack's.
func (p *planner) reads(r *reads, layer int, ids, slots, which []int32) {
	r.order = r.order[:0]
	for _, i := range which {
		place := ids[i]
		if p.places != nil {
			place = p.places[layer][place]
		}
		r.order = append(r.order, destination{place, slots[i]})
	}
	slices.SortFunc(r.order, func(a, b destination) int { return cmp.Compare(a.place, b.place) })
	r.runs, r.slots = r.runs[:0], r.slots[:0]
	begin := 0 // of the last run's slots
	for _, d := range r.order {
		if gap, ok := p.joins(r, d.place); ok {
			for range gap {
				r.slots = append(r.slots, -1)
			}
			r.slots = append(r.slots, d.slot)
			r.runs[len(r.runs)-1].slots = r.slots[begin:]
			continue
		}
		begin = len(r.slots)
		r.slots = append(r.slots, d.slot)
		r.runs = append(r.runs, run{d.place, r.slots[begin:]})
	}
}

// joins reports whether a place is read with the last run, and how many units
// lie between.
func (p *planner) joins(r *reads, place int32) (gap int, ok bool) {
	if len(r.runs) == 0 {
		return 0, false
	}
	last := &r.runs[len(r.runs)-1]
	n := len(last.slots)
	gap = int(place-last.first) - n
	return gap, n+gap < p.maxRun && (gap == 0 || p.join(n, gap))
}
