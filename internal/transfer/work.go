package transfer

import (
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
)

// Work is the units that one layer computes for some tokens. Its plan is made
// once; what changes is which units have arrived.
//
//	for seg := range work.Segments {
//		for there, err := range seg.Arrivals {
//			// first halves of the units there
//		}
//		// second halves of all units of the segment, in ascending order
//	}
//
// The work ends with the loop over its segments, however that ends, or when
// its coordinator is called again.
type Work struct {
	// Memory is where the slots are.
	Memory device.Slots

	fetcher    *fetcher
	forecaster *forecaster
	overlap    *overlap
	pass       pass
	plan       NeuronTransferPlan
	wanted     wanted
	evict      bool // misses may evict
	skipZero   bool // a unit whose activation is 0 needs no second half
	open       bool // not ended
	ahead      bool // made by Prefetch, for Fetch to find
	used       bool // the cache's policy is to hear of a use
	arrivals   arrivals

	grants, staged        []int32 // memory that serves again
	start, check, release func()  // method values made once
}

// pass is what a Work is for.
type pass struct {
	step          Step
	layer, tokens int
}

// arrivals is how far the reads of a segment have come.
type arrivals struct {
	present, pending []int32 // indices of the segment's units
	unchecked        []int32 // slots of present units whose checksums are still to be looked at
	failed           error   // of a check
}

func (w *Work) init(f *fetcher, g *forecaster, o *overlap) {
	w.fetcher, w.forecaster, w.overlap = f, g, o
	w.start, w.check, w.release = w.startReads, w.checkPresent, w.releaseSlots
	w.plan.Slots = make([]int32, f.units)
}

// begin plans the work for what is wanted and looks up which of it is there.
func (w *Work) begin(p pass, want wanted, evict, skipZero bool) {
	f := w.fetcher
	w.Memory, w.pass, w.wanted, w.evict, w.skipZero = f.memory(p.layer), p, want, evict, skipZero
	w.open, w.used, w.arrivals.failed = true, false, nil
	w.plan.IDs, w.plan.Slots = want.ids, w.plan.Slots[:len(want.ids)]
	f.Cache.Pin(p.layer, want.ids, w.plan.Slots)
	f.segment(&w.plan, f.Cache.Free(p.layer), max(1, f.Activations/p.tokens))
	w.overlap.add(w.start)
}

// startReads makes room for the misses and starts their reads.
func (w *Work) startReads() {
	f, p := w.fetcher, &w.plan
	w.forecaster.compare(w.pass.layer, p, w.pass.step.Count)
	f.releaseEarly(w.pass.layer, p.IDs)
	if len(p.Misses) == 0 {
		return
	}
	w.grants = f.Cache.Grant(w.pass.layer, p.IDs, p.Slots, w.evict, w.grants[:0])
	p.stage()
	f.read(w.pass.layer, p.IDs, p.Slots, w.grants)
	w.readStaged(0)
	w.readStaged(1)
	f.Transfer.Submit()
}

// readStaged asks for the units of a segment that go through staging slots.
func (w *Work) readStaged(segment int) {
	if segment >= len(w.plan.Segments) {
		return
	}
	w.staged = w.plan.staged(w.staged[:0], segment)
	w.fetcher.read(w.pass.layer, w.plan.IDs, w.plan.Slots, w.staged)
}

// Segments yields the segments in ascending order.
func (w *Work) Segments(yield func(Segment) bool) {
	defer w.end()
	for i, span := range w.plan.Segments {
		if i > 0 {
			// The half of the staging slots that the last segment used is free.
			w.readStaged(i + 1)
			w.fetcher.Transfer.Submit()
		}
		if !yield(Segment{w.units(span), w, span.lo}) {
			return
		}
	}
	// Every unit of a layer used says nothing about any of them.
	w.used = len(w.plan.IDs) < w.fetcher.units
}

// units is the units of a segment, as the backend wants them.
func (w *Work) units(s span) device.Work {
	u := device.Work{
		IDs:      w.plan.IDs[s.lo:s.hi],
		Slots:    w.plan.Slots[s.lo:s.hi],
		SkipZero: w.skipZero,
	}
	if w.wanted.tokens != nil {
		u.WantWords = wantWords(w.pass.tokens)
		u.Wants = w.wanted.tokens[s.lo*u.WantWords : s.hi*u.WantWords]
	}
	return u
}

// Segment is units that are in fast memory at once, until the next segment.
type Segment struct {
	// Units are the units. The slots of those that are missing are known when
	// they arrive.
	Units device.Work

	work *Work
	lo   int // of Units in the plan
}

// Arrivals yields the indices, in Units, of units as they come: first those
// that are there, which the caller computes while the others arrive, then the
// others, all at once. A unit that has just come is yielded before it is
// checked; that it is not whole is an error after that.
func (s Segment) Arrivals(yield func(there []int32, err error) bool) {
	w := s.work
	w.sort(s)
	if len(w.arrivals.present) > 0 && !yield(w.arrivals.present, nil) {
		return
	}
	if err := w.wait(s); err != nil {
		yield(nil, err)
		return
	}
	if len(w.arrivals.pending) > 0 {
		yield(w.arrivals.pending, nil)
	}
}

// sort sorts a segment's units into those that are there and those that are on
// their way.
func (w *Work) sort(s Segment) {
	a, f := &w.arrivals, w.fetcher
	a.present, a.pending = a.present[:0], a.pending[:0]
	if f.pending == 0 && len(w.plan.Misses) == 0 {
		a.present = append(a.present, f.all[:len(s.Units.IDs)]...)
		return
	}
	f.Transfer.Poll()
	for i, slot := range s.Units.Slots {
		if slot < 0 {
			a.pending = append(a.pending, int32(i))
			continue
		}
		if r := f.inflight[slot]; r != nil {
			if !r.Arrived() { // wait reports an error
				a.pending = append(a.pending, int32(i))
				continue
			}
			a.unchecked = append(a.unchecked, slot)
		}
		a.present = append(a.present, int32(i))
	}
	if len(a.unchecked) > 0 {
		w.overlap.add(w.check)
	}
}

// checkPresent checks what came with the units that are present.
func (w *Work) checkPresent() {
	a := &w.arrivals
	for _, slot := range a.unchecked {
		if err := w.fetcher.wait(w.pass.layer, slot); err != nil && a.failed == nil {
			a.failed = err
		}
	}
	a.unchecked = a.unchecked[:0]
}

// wait waits for the pending units of a segment.
func (w *Work) wait(s Segment) error {
	w.overlap.finish()
	a := &w.arrivals
	if a.failed != nil || len(a.pending) == 0 {
		return a.failed
	}
	begin := time.Now()
	defer func() { w.pass.step.Count.Stall += time.Since(begin) }()
	for _, i := range a.pending {
		if err := w.fetcher.wait(w.pass.layer, s.Units.Slots[i]); err != nil {
			return err
		}
	}
	return nil
}

// end releases the slots. Where the work was not carried through, it first
// waits for the reads that were started, since they write to the slots.
func (w *Work) end() {
	if !w.open {
		return
	}
	w.open, w.ahead = false, false
	w.overlap.finish()
	for _, slot := range w.plan.Slots {
		if w.fetcher.pending == 0 {
			break
		}
		w.fetcher.abandon(w.pass.layer, slot)
	}
	w.overlap.add(w.release)
}

func (w *Work) releaseSlots() { w.fetcher.Cache.Release(w.pass.layer, w.plan.Slots, w.used) }
