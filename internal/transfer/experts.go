package transfer

import (
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// place is where the slots of a layer of experts lie.
type place struct {
	data   []byte
	stride int64
	first  int32 // number of its first slot
}

// placeExperts finds the slots of each layer, where units are experts.
func (f *fetcher) placeExperts() {
	if f.Strides == nil {
		return
	}
	f.experts = make([]place, len(f.Strides))
	first, at := int32(0), int64(0)
	for l, stride := range f.Strides {
		n := f.Cache.Slots(l)
		end := at + int64(n)*stride
		f.experts[l] = place{f.Slots.Data[at:end:end], stride, first}
		first, at = first+int32(n), end
	}
	f.ring = f.Slots.Data[at:]
}

// expert is the memory of a slot of a layer, or of a staging slot.
func (f *fetcher) expert(layer int, slot int32) []byte {
	p := &f.experts[layer]
	data, stride, i := p.data, p.stride, slot-p.first
	if int(slot) >= f.firstStaging {
		data, stride, i = f.ring, f.StagingStride, slot-int32(f.firstStaging)
	}
	return data[int64(i)*stride:][:p.stride:p.stride]
}

// Parts is where gate, up and down of the i-th unit of a segment of experts are, once
// it has arrived.
func (s Segment) Parts(i int32) [3][]byte {
	w := s.work
	return w.fetcher.Transfer.Store().ExpertParts(w.pass.layer, int(s.Units.IDs[i]), w.fetcher.expert(w.pass.layer, s.Units.Slots[i]))
}

// FetchExperts starts the reads of those of ids, the experts of a layer that a router
// named for some tokens, ascending, that are missing.
func (c *TransferCoordinator) FetchExperts(step Step, layer, tokens int, ids []int32) *Work {
	c.work.end()
	c.overlap.finish()
	c.forecaster.guessed = c.forecaster.guessed[:0]
	p := pass{step, layer, tokens, config.Gate}
	c.plan(p, device.Work{IDs: ids})
	p.tell(ids)
	return &c.work
}

// sure is how many missing experts are sure to get a slot of the cache, of which free
// are free. Experts are computed as they come, so that few segments are best.
func (w *Work) sure(free int) int {
	slots, sure := w.fetcher.Cache.Slots(w.pass.layer), free
	if w.pass.step.Decode && len(w.plan.Units.IDs) <= slots {
		sure = slots - len(w.fetcher.early)
		for _, s := range w.plan.Units.Slots {
			if s >= 0 {
				sure--
			}
		}
	}
	return max(0, free, sure)
}

// Forecasts reports whether it is of use to guess which experts a layer will want: reads
// happen beside the computation, the layer may miss some, and guesses have paid.
func (c *TransferCoordinator) Forecasts(step Step, layer int) bool {
	f := &c.fetcher
	return step.Decode && f.Transfer.Async() && f.Cache.Slots(layer) > 0 && !f.Cache.Complete(layer) && !c.forecaster.layers[layer].off
}

// PrefetchExperts reads early what a layer that is computed next will likely want, the
// likeliest first, as soon as nothing is read that was wanted.
func (c *TransferCoordinator) PrefetchExperts(step Step, layer int, ids []int32) {
	c.overlap.finish()
	f := &c.forecaster
	f.layers[layer].asked++
	f.layers[layer].judgeExperts()
	f.pass = pass{step, layer, 1, config.Gate}
	f.guessed = append(f.guessed[:0], ids...)
	c.work.guess()
}

// guess starts the reads that were guessed, unless the work, whose own come first, is
// still waiting.
func (w *Work) guess() {
	if len(w.forecaster.guessed) > 0 && !w.waiting() {
		w.forecaster.readExperts(w)
	}
}

// waiting reports whether experts that are wanted are still on their way, or will be.
func (w *Work) waiting() bool {
	if !w.open {
		return false
	}
	for _, i := range w.plan.Misses {
		slot := w.plan.Units.Slots[i]
		if slot < 0 {
			return true
		}
		if r := w.fetcher.inflight[slot]; r != nil && !r.Done() {
			return true
		}
	}
	return false
}

// mostGuesses is how many experts are read early for a layer: those that a router is
// surest of, which are read while a layer's attention is computed.
const mostGuesses = 3

// readExperts reads the experts that were guessed, and are missing, while w is open or
// was the latest.
func (f *forecaster) readExperts(w *Work) {
	layer, t, ids := f.pass.layer, f.fetcher, f.guessed
	f.early, f.guessed = f.early[:0], f.guessed[:0]
	if w.open {
		t.releaseEarly(w.pass.layer, w.plan.Units.IDs)
	} else {
		t.releaseEarly(layer, nil)
	}
	if len(ids) > t.Cache.Slots(layer) {
		return
	}
	slots := slices.Grow(t.slots[:0], len(ids))[:len(ids)]
	t.slots = slots
	t.Cache.Pin(layer, ids, slots)
	n, missing := 0, 0
	for ; n < len(slots) && missing < mostGuesses; n++ {
		if slots[n] < 0 {
			missing++
		}
	}
	t.grants = t.Cache.Grant(layer, ids[:n], slots[:n], true, t.grants[:0])
	t.read(layer, ids, slots, t.grants)
	t.Transfer.Submit()
	for _, i := range t.grants {
		t.early = append(t.early, earlyRead{layer, slots[i], ids[i]})
		f.early = append(f.early, ids[i])
		slots[i] = -1 // stays pinned
	}
	t.Cache.Release(layer, slots, false)
	f.pass.step.Count.Early += int64(len(f.early))
}

// enoughAsked is how many tokens guess before a layer is judged, and worthAsking how
// many may guess for one expert that was read early and wanted. A guess multiplies a
// router, some hundredth of an expert, in memory that is some ten times faster than a
// disk.
const (
	enoughAsked = 64
	worthAsking = 16
)

// judgeExperts judges the guesses of a layer by what they brought: they are given up
// where more is read than wanted, or hardly anything.
func (r *record) judgeExperts() {
	if r.asked < enoughAsked {
		return
	}
	if 2*r.wasted > r.early || worthAsking*(r.early-r.wasted) < r.asked {
		r.off = true
	}
	r.asked, r.early, r.wasted = r.asked/2, r.early/2, r.wasted/2
}

// late yields the experts of a segment that were not there at first, as they come.
func (w *Work) late(s Segment, yield func(there []int32, err error) bool) {
	w.overlap.finish()
	a := &w.arrivals
	if a.failed != nil {
		yield(nil, a.failed)
		return
	}
	for len(a.pending) > 0 {
		if err := w.come(s); err != nil {
			yield(nil, err)
			return
		}
		w.guess()
		if !yield(a.present, nil) {
			return
		}
	}
	w.guess()
}

// come waits until some of the pending experts are there.
func (w *Work) come(s Segment) error {
	defer since(&w.pass.step.Count.Stall, time.Now())
	a, f := &w.arrivals, w.fetcher
	a.present = a.present[:0]
	for f.Transfer.Poll(); len(a.present) == 0; {
		left := a.pending[:0]
		for _, i := range a.pending {
			if r := f.inflight[s.Units.Slots[i]]; r == nil || r.Done() {
				a.present = append(a.present, i)
			} else {
				left = append(left, i)
			}
		}
		switch a.pending = left; {
		case len(a.present) > 0:
		case f.Transfer.Async():
			f.Transfer.WaitAny()
		default: // whoever waits makes the read
			a.present, a.pending = append(a.present, left[0]), left[1:]
		}
	}
	for _, i := range a.present {
		f.again(w.pass.layer, s.Units.Slots[i])
		if err := f.wait(w.pass.layer, s.Units.Slots[i]); err != nil {
			return err
		}
	}
	return nil
}

// again makes the read of an expert that is wanted once more where it failed before
// anybody wanted it: what ailed the disk then may be over.
func (f *fetcher) again(layer int, slot int32) {
	r := f.inflight[slot]
	early := slices.IndexFunc(f.early, func(e earlyRead) bool { return e.slot == slot })
	if r == nil || early < 0 || r.Wait() == nil {
		return
	}
	r.Release()
	f.inflight[slot] = f.Transfer.StartExpert(layer, int(f.early[early].id), f.expert(layer, slot))
	f.Transfer.Submit()
}
