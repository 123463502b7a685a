package profile

import (
	"math"

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
	m := &Misses{wanted: tr.Wanted()}
	for _, share := range cacheShares {
		slots := int(math.Round(share * float64(ffn)))
		m.Cache = append(m.Cache, share)
		for _, p := range m.policies() {
			policy := func(_, n int) cache.EvictionPolicy { return p.make(ffn, n, counts) }
			*p.rates = append(*p.rates, float64(tr.Misses(ffn, slots, hot, policy, nil))/float64(tr.Wanted()))
		}
		m.Optimal = append(m.Optimal, float64(tr.Optimal(ffn, slots, nil))/float64(tr.Wanted()))
	}
	return m
}

// replayed is a policy and where its miss rates go.
type replayed struct {
	rates *[]float64
	make  func(ffn, slots int, counts []uint32) cache.EvictionPolicy
}

func (m *Misses) policies() []replayed {
	return []replayed{
		{&m.LFU, func(ffn, n int, counts []uint32) cache.EvictionPolicy { return cache.NewLFU(ffn, n, counts) }},
		{&m.LRU, func(_, n int, _ []uint32) cache.EvictionPolicy { return cache.NewLRU(n) }},
		{&m.FrozenHot, func(int, int, []uint32) cache.EvictionPolicy { return cache.Frozen{} }},
	}
}
