package transfer

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// fetcher reads units into slots. It owns the reads under way: which slot each
// fills, and which slots stay pinned because they are read early.
type fetcher struct {
	Memory
	Reader
	planner
	units    int            // of a layer
	all      []int32        // 0 to units-1
	inflight []*disk.Read   // [slots] what fills each, nil if nothing does
	pending  int            // of inflight, how many are not nil
	early    []earlyRead    // pinned until their reads are seen to have ended
	experts  []place        // [layers] where slots are, if units are experts
	ring     []byte         // staging slots of experts
	ordered  []device.Slots // [layers] of layers that Reorder has moved

	// Memory that serves again.
	planned       reads
	slots, grants []int32
}

func newFetcher(o Options, layers int) fetcher {
	f := fetcher{Memory: o.Memory, Reader: o.Reader, units: o.Units, ordered: make([]device.Slots, layers)}
	staging := 0 // the first such slot
	for l := range layers {
		staging += f.Cache.Slots(l)
	}
	f.planner = newPlanner(staging, o)
	f.placeExperts()
	f.inflight = make([]*disk.Read, staging+f.Staging)
	f.all = make([]int32, o.Units)
	for i := range f.all {
		f.all[i] = int32(i)
	}
	return f
}

// earlyRead is a slot that a forecast's read fills.
type earlyRead struct {
	layer    int
	slot, id int32
}

// read asks for units ids[i], for the indices i in which. The reads begin with
// the next Submit.
func (f *fetcher) read(layer int, ids, slots, which []int32) {
	if f.experts != nil {
		for _, i := range which {
			f.inflight[slots[i]] = f.Transfer.StartExpert(layer, int(ids[i]), f.expert(layer, slots[i]))
			f.pending++
		}
		return
	}
	f.reads(&f.planned, layer, ids, slots, which)
	for _, run := range f.planned.runs {
		r := f.Transfer.StartBundles(layer, int(run.first), run.slots, f.Slots, f.Gaps)
		for _, s := range run.slots {
			if s >= 0 {
				f.inflight[s] = r
				f.pending++
			}
		}
	}
}

// wait waits for the unit in slot, if it is on its way. After an error the unit
// is missing again.
func (f *fetcher) wait(layer int, slot int32) error {
	r := f.inflight[slot]
	if r == nil {
		return nil
	}
	err := r.Wait()
	f.forget(layer, slot, err != nil)
	return err
}

// abandon waits for the unit in slot, if it is on its way, whether or not it
// comes.
func (f *fetcher) abandon(layer int, slot int32) {
	r := f.inflight[slot]
	if r != nil && !f.Transfer.Async() && !r.Done() {
		f.forget(layer, slot, true) // nobody will make this read
		return
	}
	_ = f.wait(layer, slot)
}

// forget ends the interest in the read that fills slot. If it failed the unit
// is missing again.
func (f *fetcher) forget(layer int, slot int32, failed bool) {
	f.inflight[slot].Release()
	f.inflight[slot] = nil
	f.pending--
	if failed && int(slot) < f.firstStaging {
		f.Cache.Forget(layer, slot)
	}
}

// prefetch reads the units of ids that are missing, if the cache holds as many,
// and appends them to early. Their slots stay pinned.
func (f *fetcher) prefetch(layer int, ids, early []int32) []int32 {
	f.releaseEarly(layer, nil)
	if len(ids) > f.Cache.Slots(layer) {
		return early
	}
	slots := slices.Grow(f.slots[:0], len(ids))[:len(ids)]
	f.grants = f.Cache.Acquire(layer, ids, slots, true, f.grants[:0])
	f.read(layer, ids, slots, f.grants)
	f.Transfer.Submit()
	for _, i := range f.grants {
		f.early = append(f.early, earlyRead{layer, slots[i], ids[i]})
		early = append(early, ids[i])
		slots[i] = -1 // stays pinned
	}
	f.Cache.Release(layer, slots, false)
	f.slots = slots
	return early
}

// releaseEarly releases what was read early and has come, but for the units of
// keep, ascending, of a layer: these are about to be checked and used. A failed
// read is no error here: whoever wants the unit finds it missing.
func (f *fetcher) releaseEarly(layer int, keep []int32) {
	f.Transfer.Poll()
	left := f.early[:0]
	for _, e := range f.early {
		_, kept := slices.BinarySearch(keep, e.id)
		kept = kept && e.layer == layer
		if r := f.inflight[e.slot]; kept || r != nil && !r.Done() {
			left = append(left, e)
			continue
		}
		_ = f.wait(e.layer, e.slot)
		f.Cache.Release(e.layer, []int32{e.slot}, false)
	}
	f.early = left
}

// settle waits for all early reads and releases them.
func (f *fetcher) settle() {
	for _, e := range f.early {
		_ = f.wait(e.layer, e.slot)
	}
	f.releaseEarly(0, nil)
}

// memory is where the slots of a layer are.
func (f *fetcher) memory(layer int) device.Slots {
	if s := f.ordered[layer]; s.Data != nil {
		return s
	}
	return f.Slots
}

// reorder brings the units of a layer into order once it is complete, since
// nothing will be read into it any more.
func (f *fetcher) reorder(layer int) {
	if f.Reorder == nil || f.experts != nil || f.ordered[layer].Data != nil || !f.Cache.Complete(layer) {
		return
	}
	if first, was := f.Cache.Order(layer); was != nil {
		f.ordered[layer] = f.Reorder(f.Slots, first, was)
	}
}
