package transfer

import (
	"cmp"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// plan makes p the plan to read the neurons ids[i], ascending, into slots[i],
// for the indices i in which, ascending.
func (c *TransferCoordinator) plan(p *NeuronTransferPlan, layer int, ids, slots, which []int32) {
	ids, slots, which = c.placed(layer, ids, slots, which)
	most := maxRun
	if !c.Transfer.Async() {
		most = len(c.all) // nothing to spread over several reads: one long read is the fastest
	}
	p.make(layer, ids, slots, which, most, c.joins)
}

// bundle is a place in the pack and the slot that it is read into.
type bundle struct{ place, slot int32 }

// placed turns neurons into places in the pack: those of which, ascending by
// place. This is the one spot where the order of a pack matters; everything
// else counts neurons as the checkpoint does, so that sums have the same order
// whatever the pack's.
func (c *TransferCoordinator) placed(layer int, ids, slots, which []int32) (places, to, all []int32) {
	if c.Places == nil {
		return ids, slots, which
	}
	b := c.bundles[:0]
	for _, i := range which {
		b = append(b, bundle{c.Places[layer][ids[i]], slots[i]})
	}
	slices.SortFunc(b, func(x, y bundle) int { return cmp.Compare(x.place, y.place) })
	c.bundles = b
	places, to = c.placeBuf[:0], c.slotBuf[:0]
	for _, x := range b {
		places, to = append(places, x.place), append(to, x.slot)
	}
	c.placeBuf, c.slotBuf = places, to
	return places, to, c.all[:len(b)]
}

// Preload is the reads that fill slots of a layer before its first pass.
type Preload struct {
	plan  NeuronTransferPlan
	slots device.Slots
	scrap []byte
	reads []*disk.Read // of the plan's runs, once started
	cache *cache.WeightCache
}

// Preload gives neurons of a layer, the hottest first, its free slots, and returns
// the reads that fill these, to be made by any goroutine. Until they have ended
// well the coordinator is not to be asked for the layer.
func (c *TransferCoordinator) Preload(layer int, hottest []int32) *Preload {
	// Acquired from the coldest on, so that the hottest is the most recent.
	ids := slices.Clone(hottest)
	slices.Reverse(ids)
	slots := make([]int32, len(ids))
	grants := c.Cache.Acquire(layer, ids, slots, false, nil)
	b := make([]bundle, len(grants))
	for n, i := range grants {
		b[n] = bundle{ids[i], slots[i]}
	}
	c.Cache.Release(layer, slots, false)
	slices.SortFunc(b, func(x, y bundle) int { return cmp.Compare(x.place, y.place) })
	for n, x := range b {
		ids[n], slots[n], grants[n] = x.place, x.slot, int32(n)
	}
	p := &Preload{slots: c.Slots, scrap: c.Scrap, cache: c.Cache}
	c.plan(&p.plan, layer, ids, slots, grants)
	return p
}

// Bytes is how many bytes of neurons fill the slots.
func (p *Preload) Bytes() int64 { return int64(p.plan.Neurons()) * p.slots.Stride }

// Start begins the reads.
func (p *Preload) Start(t *disk.AsyncWeightTransfer) {
	for _, run := range p.plan.Runs {
		p.reads = append(p.reads, t.StartBundles(p.plan.Layer, int(run.First), run.Slots, p.slots, p.scrap))
	}
	t.Submit()
}

// Wait waits for all reads that were begun.
func (p *Preload) Wait() error {
	var first error
	for i, r := range p.reads {
		if err := r.Wait(); err != nil && first == nil {
			first = err
		}
		for _, s := range p.plan.Runs[i].Slots {
			if s >= 0 {
				r.Release()
			}
		}
	}
	p.reads = nil
	return first
}

// Forget makes all its neurons missing again, after Wait told of an error.
func (p *Preload) Forget() {
	for _, run := range p.plan.Runs {
		p.cache.Drop(p.plan.Layer, run.Slots)
	}
}
