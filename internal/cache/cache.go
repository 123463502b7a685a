// Package cache says which neuron is in which slot of fast memory: a table from
// neuron to slot per layer, pins for what is in use, and an EvictionPolicy that
// picks who gives way. It never touches bytes, and belongs to one goroutine.
package cache

import (
	"fmt"
	"slices"
)

// WeightCache says which neuron of which layer is in which slot of fast
// memory. Slots are fixed: a bundle has the same place from the moment it is
// granted until it is evicted, so nothing is ever copied or compacted, but once
// where a layer has become complete: see Order.
//
// Each layer has slots of its own. One pool for all would let the first
// layers of a token push out the last layers' neurons before these are used
// again, as any scan longer than an LRU list does.
//
// A slot is pinned while somebody reads or writes its bytes: Acquire pins,
// Release unpins, and a pinned slot is never evicted. Pins are counted.
type WeightCache struct {
	layers []layerCache
}

// layerCache is the slots of one layer. Each is in one of three states: with
// a neuron; free; or, between Forget and the last Release, pinned without one.
type layerCache struct {
	base      int32   // number of the layer's first slot in the whole cache
	slotOf    []int32 // [ffn] slot within the layer, -1 for none
	idOf      []int32 // [slots] neuron, -1 for none
	pins      []uint16
	free      []int32 // slots taken from the end
	policy    EvictionPolicy
	evictable func(slot int) bool // method value, made once
}

// NewWeightCache makes an empty cache for layers of ffn neurons, the l-th
// with slots[l] slots. Slots are numbered from 0 through all layers.
func NewWeightCache(ffn int, slots []int, policy NewPolicy) *WeightCache {
	c := &WeightCache{layers: make([]layerCache, len(slots))}
	base := int32(0)
	for l, n := range slots {
		lc := &c.layers[l]
		*lc = layerCache{
			base:   base,
			slotOf: filled(ffn, -1),
			idOf:   filled(n, -1),
			pins:   make([]uint16, n),
			free:   make([]int32, n),
			policy: policy(l, n),
		}
		lc.evictable = lc.canEvict
		for i := range lc.free {
			lc.free[i] = int32(n - 1 - i)
		}
		base += int32(n)
	}
	return c
}

// Slots is the number of slots of a layer.
func (c *WeightCache) Slots(layer int) int { return len(c.layers[layer].idOf) }

// Filled is the number of slots with a neuron, in all layers.
func (c *WeightCache) Filled() (n int64) {
	for l := range c.layers {
		n += int64(len(c.layers[l].idOf) - len(c.layers[l].free))
	}
	return n
}

// Free is the number of slots of a layer that hold no neuron and are not pinned.
func (c *WeightCache) Free(layer int) int { return len(c.layers[layer].free) }

// Complete reports whether every neuron of a layer has a slot.
func (c *WeightCache) Complete(layer int) bool {
	lc := &c.layers[layer]
	return len(lc.free) == 0 && len(lc.idOf) == len(lc.slotOf)
}

// Acquire looks up the neurons ids, none of them twice, and pins their slots:
// slots[i] becomes the slot of ids[i], or -1 if it has none. A neuron without
// a slot is granted a free one, or with evict the slot of a victim; grants, to
// which the indices of such neurons are appended in ascending order, are for
// the caller to fill with bytes before anyone uses them.
//
// It is Pin, then Grant.
func (c *WeightCache) Acquire(layer int, ids, slots []int32, evict bool, grants []int32) []int32 {
	if c.Pin(layer, ids, slots) == 0 {
		return grants
	}
	return c.Grant(layer, ids, slots, evict, grants)
}

// Pin is the part of Acquire that looks up and pins. It returns how many of ids
// have no slot.
func (c *WeightCache) Pin(layer int, ids, slots []int32) (missing int) {
	lc := &c.layers[layer]
	for i, id := range ids {
		s := lc.slotOf[id]
		slots[i] = s
		if s >= 0 {
			slots[i] += lc.base
			lc.pins[s]++
		} else {
			missing++
		}
	}
	return missing
}

// Grant is the part of Acquire that makes room, once all hits are pinned: so no
// neuron of a call pushes out another.
func (c *WeightCache) Grant(layer int, ids, slots []int32, evict bool, grants []int32) []int32 {
	lc := &c.layers[layer]
	for i, id := range ids {
		if slots[i] >= 0 {
			continue
		}
		s := lc.take(evict)
		if s < 0 {
			break // and so for all after it
		}
		lc.slotOf[id], lc.idOf[s] = s, id
		lc.pins[s]++
		lc.policy.Insert(int(s), int(id))
		slots[i] = s + lc.base
		grants = append(grants, int32(i))
	}
	return grants
}

// take is an empty slot, -1 if there is none.
func (lc *layerCache) take(evict bool) int32 {
	if last := len(lc.free) - 1; last >= 0 {
		s := lc.free[last]
		lc.free = lc.free[:last]
		return s
	}
	if !evict {
		return -1
	}
	v := lc.policy.Victim(lc.evictable)
	if v < 0 {
		return -1
	}
	if v >= len(lc.pins) || !lc.canEvict(v) {
		panic(fmt.Sprintf("cache: eviction policy: got victim %d, want an evictable slot of %d", v, len(lc.pins)))
	}
	lc.slotOf[lc.idOf[v]] = -1
	return int32(v)
}

func (lc *layerCache) canEvict(slot int) bool { return lc.pins[slot] == 0 && lc.idOf[slot] >= 0 }

// Release unpins slots that Acquire gave. What is no slot of the layer is
// passed over: -1, and the numbers above the cache's that a caller may use for
// slots of its own. With used the policy is told that the neurons were used.
func (c *WeightCache) Release(layer int, slots []int32, used bool) {
	lc := &c.layers[layer]
	for _, s := range slots {
		if s -= lc.base; s < 0 || int(s) >= len(lc.pins) {
			continue
		}
		if lc.pins[s] == 0 {
			panic(fmt.Sprintf("cache: release slot %d of layer %d: got one that is not pinned", s, layer))
		}
		lc.pins[s]--
		if used && lc.idOf[s] >= 0 {
			lc.policy.Hit(int(s))
		}
		if lc.pins[s] == 0 && lc.idOf[s] < 0 {
			lc.free = append(lc.free, s)
		}
	}
}

// Forget makes the neuron in a pinned slot missing again, because its bytes
// never came. The slot is free once it is released.
func (c *WeightCache) Forget(layer int, slot int32) {
	lc := &c.layers[layer]
	slot -= lc.base
	if id := lc.idOf[slot]; id >= 0 {
		lc.slotOf[id], lc.idOf[slot] = -1, -1
	}
}

// Drop makes the neurons in slots that are not pinned missing again, because their
// bytes never came; -1 is no slot.
func (c *WeightCache) Drop(layer int, slots []int32) {
	lc := &c.layers[layer]
	for _, s := range slots {
		if s -= lc.base; s >= 0 && lc.idOf[s] >= 0 && lc.pins[s] == 0 {
			lc.slotOf[lc.idOf[s]], lc.idOf[s] = -1, -1
			lc.free = append(lc.free, s)
		}
	}
}

// Order gives every neuron of a complete layer the slot of its own number, for
// the caller to move the bundles: it returns the layer's first slot and, of each
// neuron, in which slot after that it was. It does nothing and returns nil where
// the layer is not complete or a slot is pinned. The policy is not told, since a
// complete layer evicts nothing; such a layer must not be cleared.
func (c *WeightCache) Order(layer int) (first int, was []int32) {
	lc := &c.layers[layer]
	if !c.Complete(layer) {
		return 0, nil
	}
	for _, n := range lc.pins {
		if n > 0 {
			return 0, nil
		}
	}
	was = slices.Clone(lc.slotOf)
	for i := range lc.slotOf {
		lc.slotOf[i], lc.idOf[i] = int32(i), int32(i)
	}
	return int(lc.base), was
}

// filled is n times v.
func filled(n int, v int32) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = v
	}
	return s
}
