package profile

import (
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

// cacheShares are the sizes of cache that are replayed, in shares of a layer's
// neurons.
var cacheShares = [...]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}

// Misses is the share of wanted neurons that had no slot, by size of the cache
// and by policy; see the package doc.
type Misses struct {
	Cache     []float64 `json:"cache"` // [sizes] share of the layer's neurons
	LFU       []float64 `json:"lfu"`
	LRU       []float64 `json:"lru"`
	FrozenHot []float64 `json:"frozen_hot"`
	Optimal   []float64 `json:"optimal"`
	wanted    int
}

// rates are the miss rates by size, those of the policies and of the optimum.
func (m *Misses) rates() [4]*[]float64 {
	return [...]*[]float64{&m.LFU, &m.LRU, &m.FrozenHot, &m.Optimal}
}

// misses replays the sets of a layer, whose neurons were active as often as
// counts says. It is nil where no neuron is wanted.
func (s sets) misses(counts []uint32) *Misses {
	var tr trace.Sets
	var ids []int32
	for t := range s.len() {
		ids = s.appendTo(ids[:0], t)
		tr.Add(ids)
	}
	if tr.Wanted() == 0 {
		return nil
	}
	ffn, hot := len(counts), cache.Hottest(counts)
	policies := [...]cache.NewPolicy{
		func(_, n int) cache.EvictionPolicy { return cache.NewLFU(ffn, n, counts) },
		func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) },
		func(int, int) cache.EvictionPolicy { return cache.Frozen{} },
	}
	m := &Misses{Cache: slices.Clone(cacheShares[:]), wanted: tr.Wanted()}
	for _, share := range cacheShares {
		slots := int(math.Round(share * float64(ffn)))
		for i, rates := range m.rates() {
			n := 0
			if i < len(policies) {
				n = tr.Misses(ffn, slots, hot, policies[i], nil)
			} else {
				n = tr.Optimal(ffn, slots, nil)
			}
			*rates = append(*rates, float64(n)/float64(tr.Wanted()))
		}
	}
	return m
}

// together is the miss rates of all layers, nil if none has any.
func together(layers []Layer) *Misses {
	sum := &Misses{Cache: slices.Clone(cacheShares[:])}
	for _, l := range layers {
		if l.Misses != nil {
			sum.wanted += l.Misses.wanted
		}
	}
	if sum.wanted == 0 {
		return nil
	}
	for _, rates := range sum.rates() {
		*rates = make([]float64, len(cacheShares))
	}
	for _, l := range layers {
		if l.Misses == nil {
			continue
		}
		weight := float64(l.Misses.wanted) / float64(sum.wanted)
		to := sum.rates()
		for i, rates := range l.Misses.rates() {
			for k, v := range *rates {
				(*to[i])[k] += weight * v
			}
		}
	}
	return sum
}
