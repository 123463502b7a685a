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
//			// first parts of the units there
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

	pass     pass
	plan     NeuronTransferPlan
	arrivals arrivals
	open     bool // not ended
	ahead    bool // made by Prefetch, for Fetch to find
	used     bool // the cache's policy is to hear of a use
	staging  int  // segment whose staging slots are filled next

	slots, grants, staged       []int32 // memory that serves again
	start, next, check, release func()  // method values made once
}

// arrivals is how far the reads of a segment have come.
type arrivals struct {
	present, pending []int32 // indices of the segment's units
	unchecked        []int32 // slots of present units whose checksums are still to be looked at
	failed           error   // of a check
}

// startReads makes room for the misses and starts their reads.
func (w *Work) startReads() {
	f, layer, u := w.fetcher, w.pass.layer, &w.plan.Units
	count := w.pass.step.Count
	missed := count.Misses
	w.forecaster.compare(layer, &w.plan, count)
	if f.experts != nil {
		bytes := f.Transfer.Store().Pack().ExpertBytes(layer)
		count.WantedBytes += bytes * int64(len(u.IDs))
		count.MissedBytes += bytes * (count.Misses - missed)
	}
	f.releaseEarly(layer, u.IDs)
	if len(w.plan.Misses) == 0 {
		return
	}
	// A set larger than the cache would evict what other tokens want and still
	// not be whole for the next token that wants the same.
	evict := w.pass.step.Decode && len(u.IDs) <= f.Cache.Slots(layer)
	w.grants = f.Cache.Grant(layer, u.IDs, u.Slots, evict, w.grants[:0])
	f.read(layer, u.IDs, u.Slots, w.grants)
	w.stageNext()
	w.stageNext()
}

// stageNext starts the reads of the next segment's units that go through staging
// slots, and of what else was asked for.
func (w *Work) stageNext() {
	if w.staging < len(w.plan.Segments) {
		w.staged = w.fetcher.stage(&w.plan, w.staging, w.staged[:0])
		w.fetcher.read(w.pass.layer, w.plan.Units.IDs, w.plan.Units.Slots, w.staged)
		w.staging++
	}
	w.fetcher.Transfer.Submit()
}

// Segments yields the segments in ascending order.
func (w *Work) Segments(yield func(Segment) bool) {
	defer w.end()
	for i, span := range w.plan.Segments {
		if i > 0 {
			// The half of the staging slots that the last segment used is free.
			w.overlap.add(w.next)
		}
		if !yield(Segment{Units: w.units(span), First: span.lo, work: w}) {
			return
		}
	}
	// Every unit of a layer used says nothing about any of them.
	w.used = len(w.plan.Units.IDs) < w.fetcher.units
}

// units is the units of a segment, as the backend wants them.
func (w *Work) units(s span) device.Work {
	u := w.plan.Units
	u.IDs, u.Slots = u.IDs[s.lo:s.hi], u.Slots[s.lo:s.hi]
	if u.Wants != nil {
		u.Wants = u.Wants[s.lo*u.WantWords : s.hi*u.WantWords]
	}
	return u
}

// Segment is units that are in fast memory at once, until the next segment.
type Segment struct {
	// Units are the units. The slots of those that are missing are known when
	// they arrive.
	Units device.Work
	First int // index of the first of them among the work's

	work *Work
}

// Arrivals yields the indices, in Units, of units as they come: first those
// that are there, which the caller computes while the others arrive, then the
// others: neurons all at once, experts as soon as they are there. A neuron that has
// just come is yielded before it is checked; that it is not whole is an error after
// that.
func (s Segment) Arrivals(yield func(there []int32, err error) bool) {
	w := s.work
	w.sort(s)
	if len(w.arrivals.present) > 0 && !yield(w.arrivals.present, nil) {
		return
	}
	if w.fetcher.experts != nil {
		w.late(s, yield)
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
	defer since(&w.pass.step.Count.Stall, time.Now())
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
	for _, slot := range w.plan.Units.Slots {
		if slot >= 0 && w.fetcher.pending > 0 {
			w.fetcher.abandon(w.pass.layer, slot)
		}
	}
	w.overlap.add(w.release)
}

func (w *Work) releaseSlots() { w.fetcher.Cache.Release(w.pass.layer, w.plan.Units.Slots, w.used) }
