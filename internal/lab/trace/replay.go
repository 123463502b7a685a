package trace

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Misses replays the sets of a layer of ffn neurons against a cache that begins
// with the neurons warm, the hottest first, and has slots slots. It calls
// missed, if not nil, with each step's misses, ascending.
func (s *Sets) Misses(ffn, slots int, warm []int32, policy cache.NewPolicy, missed func(ids []int32)) (misses int) {
	c := cache.NewWeightCache(ffn, []int{slots}, policy)
	at := make([]int32, ffn)
	grants := make([]int32, 0, ffn)
	first := slices.Clone(warm[:min(len(warm), slots)])
	slices.Reverse(first) // the hottest comes last, as the most recent
	c.Acquire(0, first, at[:len(first)], false, grants)
	c.Release(0, at[:len(first)], false)
	gone := make([]int32, 0, ffn)
	for t := range s.Ends {
		ids := s.At(t)
		// As the coordinator does: a set larger than the cache evicts nobody.
		granted := c.Acquire(0, ids, at[:len(ids)], len(ids) <= slots, grants)
		gone = gone[:0]
		for i, id := range ids {
			if at[i] < 0 || len(granted) > 0 && granted[0] == int32(i) {
				gone = append(gone, id)
				if at[i] >= 0 {
					granted = granted[1:]
				}
			}
		}
		misses += len(gone)
		if missed != nil {
			missed(gone)
		}
		c.Release(0, at[:len(ids)], true)
	}
	return misses
}

// Static is the misses of the best set of slots neurons that never changes.
func (s *Sets) Static(ffn, slots int, missed func(ids []int32)) int {
	frozen := func(int, int) cache.EvictionPolicy { return cache.Frozen{} }
	return s.Misses(ffn, slots, cache.Hottest(s.Counts(ffn)), frozen, missed)
}

// Options is what a trace is replayed against.
type Options struct {
	Policies []string  // names of cache.PolicyByName
	Shares   []float64 // of all neurons that have slots
	// Seen is a profile: caches begin with its hottest neurons, as the engine
	// begins, and policies know its counts. Without one they begin empty, and each
	// layer has the same slots.
	Seen *cache.Counts
	// Before is how many steps pass before misses count.
	Before int
	// Equal gives each layer the same slots. Otherwise they are dealt out by what
	// each layer gains, as the engine does.
	Equal bool
	// Gap is how many bytes are worth reading to join two reads.
	Gap int64
	// Progress, if not nil, is told of each row that is done.
	Progress func()
}

// Row is how one policy fares with one size of cache.
type Row struct {
	Policy string  `json:"policy"` // optimal and static are bounds, see the package doc
	Cache  float64 `json:"cache"`  // share of all neurons that have slots
	// Misses of a step, as a share of all neurons, and of those it wanted.
	Misses   float64 `json:"misses_per_token"`
	MissRate float64 `json:"miss_rate"`
	// Reads is how many reads a step's misses take with neighbours joined,
	// in source order and in the profile's (see pack --order).
	Reads    float64 `json:"reads_per_token"`
	ReadsHot float64 `json:"reads_per_token_hot"`
}

// The names of the bounds, which stand among the policies.
const (
	optimalRow = "optimal"
	staticRow  = "static"
)

// Replay judges policies, by name, and sizes of cache by a trace.
func Replay(t *Trace, o Options) ([]Row, error) {
	if c := o.Seen; c != nil && (len(c.Neurons) != t.Layers || len(c.Neurons[0]) != t.FFN) {
		return nil, fmt.Errorf("trace: replay: got a profile of %d layers of %d neurons, want %d of %d", len(c.Neurons), len(c.Neurons[0]), t.Layers, t.FFN)
	}
	r := replay{Trace: t, Options: o}
	for l := range t.Sets {
		p := places{position: make([]int32, t.FFN)}
		if o.Seen != nil {
			p.hottest = o.Seen.Hottest(l)
		}
		for i, id := range p.hottest {
			p.position[id] = int32(i)
		}
		r.places = append(r.places, p)
	}
	var rows []Row
	for _, share := range o.Shares {
		if !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("trace: replay: got a cache of %v of the neurons, want 0 to 1", share)
		}
		slots := r.deal(share)
		for _, name := range o.Policies {
			row, err := r.row(name, slots)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
			if o.Progress != nil {
				o.Progress()
			}
		}
	}
	return rows, nil
}

type replay struct {
	*Trace
	Options
	places []places // [layers]
}

// places is what the profile says of one layer.
type places struct {
	hottest  []int32
	position []int32 // [ffn] of each neuron in hottest
}

// deal is the slots of each layer for a share of all neurons.
func (r *replay) deal(share float64) []int {
	if !r.Equal && r.Seen != nil {
		return placement.Deal(int(math.Round(share*float64(r.units()))), r.Seen)
	}
	slots := make([]int, r.Layers)
	for l := range slots {
		if r.Sets[l].Wanted() > 0 || r.Having == 0 {
			slots[l] = int(math.Round(share * float64(r.FFN)))
		}
	}
	return slots
}

// row replays all layers.
func (r *replay) row(name string, slots []int) (Row, error) {
	var policy cache.NewPolicy
	if name != optimalRow && name != staticRow {
		var err error
		if policy, err = cache.PolicyByName(name, r.FFN, r.Seen); err != nil {
			return Row{}, err
		}
	}
	have, missed, wanted, reads, hot := 0, 0, 0, 0, 0
	var at []int32
	for l := range r.Sets {
		s, p := &r.Sets[l], r.places[l]
		step := 0
		see := func(ids []int32) {
			if step++; step <= r.Before {
				return
			}
			missed += len(ids)
			reads += r.reads(ids)
			at = at[:0]
			for _, id := range ids {
				at = append(at, p.position[id])
			}
			slices.Sort(at)
			hot += r.reads(at)
		}
		have += slots[l]
		wanted += s.Wanted() - s.Until(r.Before)
		switch name {
		case optimalRow:
			s.Optimal(r.FFN, slots[l], r.Seen == nil, see)
		case staticRow:
			s.Static(r.FFN, slots[l], see)
		default:
			of := func(_, n int) cache.EvictionPolicy { return policy(l, n) }
			s.Misses(r.FFN, slots[l], p.hottest, of, see)
		}
	}
	steps, all := float64(max(1, r.Steps()-r.Before)), float64(r.units())
	return Row{
		Policy:   name,
		Cache:    float64(have) / all,
		Misses:   float64(missed) / steps / all,
		MissRate: float64(missed) / float64(max(1, wanted)),
		Reads:    float64(reads) / steps,
		ReadsHot: float64(hot) / steps,
	}, nil
}

// reads is how many reads get the bundles at the given places, ascending, if
// those with a gap of at most Gap between them are joined.
func (r *replay) reads(at []int32) int {
	n := 0
	for i := range at {
		if i == 0 || int64(at[i]-at[i-1]-1)*r.Stride > r.Gap {
			n++
		}
	}
	return n
}
