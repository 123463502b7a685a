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
}

// missed counts neurons: those that were wanted, and of these the ones that had
// no slot, by policy, the optimum last, and size of the cache.
type missed struct {
	wanted int
	counts [4][len(cacheShares)]int
}

// misses replays the sets of a layer, whose neurons were active as often as
// counts says.
func (s sets) misses(counts []uint32) (m missed) {
	var tr trace.Sets
	var ids []int32
	for t := range s.len() {
		ids = s.appendTo(ids[:0], t)
		tr.Add(ids)
	}
	if m.wanted = tr.Wanted(); m.wanted == 0 {
		return m
	}
	ffn, hot := len(counts), cache.Hottest(counts)
	policies := [...]cache.NewPolicy{
		func(_, n int) cache.EvictionPolicy { return cache.NewLFU(ffn, n, counts) },
		func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) },
		func(int, int) cache.EvictionPolicy { return cache.Frozen{} },
	}
	for k, share := range cacheShares {
		slots := int(math.Round(share * float64(ffn)))
		for i, policy := range policies {
			m.counts[i][k] = tr.Misses(ffn, slots, hot, policy, nil)
		}
		m.counts[len(policies)][k] = tr.Optimal(ffn, slots, false, nil)
	}
	return m
}

// add adds another layer's counts.
func (m *missed) add(o missed) {
	m.wanted += o.wanted
	for i := range m.counts {
		for k := range m.counts[i] {
			m.counts[i][k] += o.counts[i][k]
		}
	}
}

// rates are the counts as shares, nil where no neuron is wanted.
func (m missed) rates() *Misses {
	if m.wanted == 0 {
		return nil
	}
	r := &Misses{Cache: slices.Clone(cacheShares[:])}
	for i, rates := range []*[]float64{&r.LFU, &r.LRU, &r.FrozenHot, &r.Optimal} {
		for _, n := range m.counts[i] {
			*rates = append(*rates, float64(n)/float64(m.wanted))
		}
	}
	return r
}
