package transfer

import (
	"cmp"
	"slices"
)

// plan plans to read the neurons ids[i], ascending, into slots[i], for the
// indices i in which, ascending. The plan is valid until the next.
func (c *TransferCoordinator) plan(layer int, ids, slots, which []int32) *NeuronTransferPlan {
	ids, slots, which = c.placed(layer, ids, slots, which)
	most := maxRun
	if !c.Transfer.Async() {
		most = len(c.all) // nothing to spread over several reads: one long read is the fastest
	}
	c.planned.make(layer, ids, slots, which, most, c.joins)
	return &c.planned
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

// Preload reads neurons of a layer, the hottest first, into free slots and
// waits for them. It is for before the first pass.
func (c *TransferCoordinator) Preload(layer int, hottest []int32) error {
	// Acquired from the coldest on, so that the hottest is the most recent.
	ids := slices.Clone(hottest)
	slices.Reverse(ids)
	slots := make([]int32, len(ids))
	grants := c.Cache.Acquire(layer, ids, slots, false, nil)
	b := make([]bundle, len(grants))
	for n, i := range grants {
		b[n] = bundle{ids[i], slots[i]}
	}
	slices.SortFunc(b, func(x, y bundle) int { return cmp.Compare(x.place, y.place) })
	for n, x := range b {
		ids[n], grants[n] = x.place, int32(n)
		slots[n] = x.slot
	}
	slots = slots[:len(b)]
	c.start(c.plan(layer, ids, slots, grants))
	var first error
	for _, s := range slots {
		if err := c.arrived(layer, s); err != nil && first == nil {
			first = err
		}
	}
	c.Cache.Release(layer, slots, false)
	return first
}
