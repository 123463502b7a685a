package profile

import (
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/weights"
)

// cacheShares are the sizes of cache that are replayed, in shares of a layer's
// neurons.
var cacheShares = [...]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}

// Misses is the share of wanted neurons that had no slot, by size of the cache
// and by policy; see the package doc.
type Misses struct {
	Cache     []float64 `json:"cache"` // [sizes] share of the layer's neurons
	LRU       []float64 `json:"lru"`
	FrozenHot []float64 `json:"frozen_hot"`
	Optimal   []float64 `json:"optimal"`
	wanted    int
}

// misses replays the sets of a layer. hot is its neurons, the hottest first.
// It is nil where no neuron is wanted.
func (s sets) misses(hot []int32) *Misses {
	tr := newTrace(s, len(hot))
	if len(tr.ids) == 0 {
		return nil
	}
	m := &Misses{wanted: len(tr.ids)}
	rate := func(misses int) float64 { return float64(misses) / float64(len(tr.ids)) }
	for _, share := range cacheShares {
		slots := int(math.Round(share * float64(len(hot))))
		m.Cache = append(m.Cache, share)
		m.LRU = append(m.LRU, rate(tr.replay(hot[:slots], func(_, n int) weights.EvictionPolicy { return weights.NewLRU(n) })))
		m.FrozenHot = append(m.FrozenHot, rate(tr.replay(hot[:slots], func(int, int) weights.EvictionPolicy { return weights.Frozen{} })))
		m.Optimal = append(m.Optimal, rate(tr.optimal(slots)))
	}
	return m
}

// trace is the neurons that token after token wants.
type trace struct {
	ffn  int
	ids  []int32 // each token's, ascending
	ends []int   // [tokens] where a token's ids end
	next []int32 // [len(ids)] token that wants the neuron next, never if none does
}

func newTrace(s sets, ffn int) *trace {
	tr := &trace{
		ffn:  ffn,
		ids:  make([]int32, 0, count(s.bits)),
		ends: make([]int, 0, s.len()),
	}
	for t := range s.len() {
		tr.ids = s.appendTo(tr.ids, t)
		tr.ends = append(tr.ends, len(tr.ids))
	}
	tr.next = tr.nextUses()
	return tr
}

// never is later than any token.
const never = math.MaxInt32

// token is the range of a token's ids.
func (tr *trace) token(t int) (from, to int) {
	if t > 0 {
		from = tr.ends[t-1]
	}
	return from, tr.ends[t]
}

// replay is the misses of a policy whose cache begins with the neurons warm,
// the hottest first, and has as many slots.
func (tr *trace) replay(warm []int32, policy weights.NewPolicy) (misses int) {
	c := weights.NewWeightCache(tr.ffn, []int{len(warm)}, policy)
	slots := make([]int32, tr.ffn)
	grants := make([]int32, 0, tr.ffn)
	first := slices.Clone(warm)
	slices.Reverse(first) // the hottest is the most recently used
	c.Acquire(0, first, slots[:len(first)], false, grants)
	c.Release(0, slots[:len(first)], true)
	for t := range tr.ends {
		from, to := tr.token(t)
		ids, at := tr.ids[from:to], slots[:to-from]
		granted := c.Acquire(0, ids, at, true, grants)
		misses += len(granted)
		for _, s := range at {
			if s < 0 {
				misses++
			}
		}
		c.Release(0, at, true)
	}
	return misses
}
