package placement

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
)

const (
	// neuronBytes is what is known of a neuron that has a slot: a checksum
	// (4), slot and neuron (8), pins and free list (6), what the policy knows,
	// the read that fills it (8), how often it was active (4), where it lies in
	// a pack with an order of its own (4), its calibration (21), rounded up.
	neuronBytes = 56 + cache.PolicyBytes
	// expertBytes is what is known of an expert: of that what is known of a neuron,
	// where its parts lie (24), and counts of its use before and now (12), rounded up.
	expertBytes = 128 + cache.PolicyBytes
	// ringBytes is about what the ring of staging slots takes where units are neurons,
	// expertRingBytes where they are experts, which are few and large: enough reads under
	// way to keep a disk busy, as 4 to 8 of some megabytes are.
	ringBytes       = 4 << 20
	expertRingBytes = 64 << 20
	mostRingExperts = 8
)

// units is what the units of a model take: neurons that can be left out, or experts.
// A slot holds one.
type units struct {
	of      []int   // [layers] units, 0 in layers without
	strides []int64 // [layers] of a slot, 0 in layers without
	number  int     // of each layer that has any
	bytes   int64   // of the same number of slots, one, in every layer
	largest int64   // stride
	ring    int     // staging slots, each as large as the largest
	tables  int64   // what is known of all
}

// surveyUnits sums up what they take.
func (p *planner) surveyUnits() {
	l, u := p.in.Layout, &p.units
	*u = units{of: make([]int, p.profile.Layers), strides: make([]int64, p.profile.Layers), number: p.profile.Units()}
	table := int64(neuronBytes)
	if p.experts() {
		table = expertBytes
	}
	for i := range u.of {
		switch m := p.profile.MoE(i); {
		case m.Experts > 0:
			u.of[i], u.strides[i] = m.Experts, l.ExpertRoom(i)
		case l.Bundles() > 0:
			u.of[i], u.strides[i] = u.number, l.BundleStride()
		}
		u.bytes += u.strides[i]
		u.largest = max(u.largest, u.strides[i])
		u.tables += table * int64(u.of[i])
	}
	switch {
	case u.largest == 0:
	case p.experts():
		u.ring = max(2, min(mostRingExperts, int(expertRingBytes/u.largest), u.number)&^1)
	default:
		u.ring = int(max(2, min(ringBytes/u.largest, int64(u.number)/4)) &^ 1)
	}
}

// experts reports whether the model's units are experts.
func (p *planner) experts() bool { return p.profile.Experts() > 0 }

// slots is the size of n slots in every layer that has units.
func (u *units) slots(n int) int64 { return int64(n) * u.bytes }

// even is n slots in every layer, and one more in the first layers that room, from
// which they are taken, has space for. Layers get the same because nothing better is
// known: shares learned from one text lose on the next (docs/cache.md).
//
// Where n is less than the experts that a token wants of a layer, each new one would
// push out another of the same token. Then the first layers get as many as that, and
// the last none.
func (u *units) even(n, wants int, room *int64) []int {
	slots := make([]int, len(u.of))
	give := func(i, most int) bool {
		if u.strides[i] > 0 {
			more := int(max(0, min(int64(most-slots[i]), *room/u.strides[i])))
			slots[i] += more
			*room -= int64(more) * u.strides[i]
		}
		return slots[i] == most // else nothing more, so that a larger room never leaves less
	}
	if n < wants {
		n, *room = 0, *room+u.slots(n)
	}
	for i, all := range u.of {
		slots[i] = min(n, all)
	}
	for i, all := range u.of {
		if !give(i, min(max(n+1, wants), all)) {
			break
		}
	}
	return slots
}

// bytesOf is the size of the slots of all layers.
func (u *units) bytesOf(slots []int) (n int64) {
	for i, s := range slots {
		n += int64(s) * u.strides[i]
	}
	return n
}

// deal gives each layer its slots, of which there are n a layer, and takes more from
// room where units are large: the same for all, or by what is known of the neurons that
// the mode leaves out.
func (p *planner) deal(n int, room *int64) []int {
	switch {
	case p.experts() && p.in.Strategy.GPUCacheRatio != nil:
		return p.units.even(n, 0, room)
	case p.experts():
		return p.units.even(n, p.profile.MostTopK(), room)
	case p.Mode == config.Predicted && p.in.Counts != nil:
		return Deal(n*p.profile.Layers, p.in.Counts)
	}
	return slices.Repeat([]int{n}, p.profile.Layers)
}

// unitName is what a unit is, in words.
func (p *planner) unitName() string {
	if p.experts() {
		return "expert"
	}
	return "neuron"
}
