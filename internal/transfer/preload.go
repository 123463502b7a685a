package transfer

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/disk"
)

// Preload is the reads that fill slots of a layer before its first pass.
type Preload struct {
	fetcher *fetcher
	layer   int
	planned reads         // of neurons
	experts []destination // in place of them
	started []*disk.Read  // of the runs or experts
}

// Preload gives units of a layer, the hottest first, its free slots, and
// returns the reads that fill these, for any goroutine to make. The layer is
// not to be computed before they have ended well.
func (c *TransferCoordinator) Preload(layer int, hottest []int32) *Preload {
	f := &c.fetcher
	p := &Preload{fetcher: f, layer: layer}
	// The cache gets the coldest first, so that the hottest is the most recent.
	ids := slices.Clone(hottest)
	slices.Reverse(ids)
	slots := make([]int32, len(ids))
	granted := f.Cache.Acquire(layer, ids, slots, false, nil)
	f.Cache.Release(layer, slots, false)
	if f.experts != nil {
		for _, i := range granted {
			p.experts = append(p.experts, destination{ids[i], slots[i]})
		}
		return p
	}
	f.reads(&p.planned, layer, ids, slots, granted)
	return p
}

// Bytes is how many bytes of units fill the slots.
func (p *Preload) Bytes() int64 {
	if p.experts != nil {
		return int64(len(p.experts)) * p.fetcher.experts[p.layer].stride
	}
	return int64(len(p.planned.order)) * p.fetcher.Slots.Stride
}

// Start begins the reads.
func (p *Preload) Start(t *disk.AsyncWeightTransfer) {
	for _, x := range p.experts {
		p.started = append(p.started, t.StartExpert(p.layer, int(x.place), p.fetcher.expert(p.layer, x.slot)))
	}
	for _, run := range p.planned.runs {
		p.started = append(p.started, t.StartBundles(p.layer, int(run.first), run.slots, p.fetcher.Slots, p.fetcher.Gaps))
	}
	t.Submit()
}

// Wait waits for all reads that were begun.
func (p *Preload) Wait() error {
	var first error
	for i, r := range p.started {
		if err := r.Wait(); err != nil && first == nil {
			first = err
		}
		if p.experts != nil {
			r.Release()
			continue
		}
		for _, s := range p.planned.runs[i].slots {
			if s >= 0 {
				r.Release()
			}
		}
	}
	p.started = nil
	return first
}

// Forget makes all its units missing again, after Wait told of an error.
func (p *Preload) Forget() {
	for _, x := range p.experts {
		p.fetcher.Cache.Drop(p.layer, []int32{x.slot})
	}
	for _, run := range p.planned.runs {
		p.fetcher.Cache.Drop(p.layer, run.slots)
	}
}
