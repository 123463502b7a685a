package trace

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/cache"
)

// anySets draws small sets of ffn neurons, from none to all of them.
func anySets(t *rapid.T, ffn, least, maxSteps int) (s Sets) {
	for range rapid.IntRange(least, maxSteps).Draw(t, "steps") {
		ids := rapid.SliceOfNDistinct(rapid.Int32Range(0, int32(ffn-1)), 0, ffn, rapid.ID[int32]).Draw(t, "set")
		slices.Sort(ids)
		s.Add(ids)
	}
	return s
}

// leastMisses tries every content of the cache after every step.
func leastMisses(s Sets, ffn, slots int) int {
	var after [1 << 6]int // by content, the misses from the next step on
	for t := s.Len() - 1; t >= 0; t-- {
		var before [1 << 6]int
		want := uint(0)
		for _, id := range s.At(t) {
			want |= 1 << id
		}
		for content := range uint(1) << ffn {
			best := math.MaxInt
			for next := range uint(1) << ffn {
				if bits.OnesCount(next) <= slots && next&^(content|want) == 0 {
					best = min(best, after[next])
				}
			}
			before[content] = best + bits.OnesCount(want&^content)
		}
		after = before
	}
	best := math.MaxInt
	for content := range uint(1) << ffn {
		if bits.OnesCount(content) <= slots {
			best = min(best, after[content])
		}
	}
	return best
}

func TestOptimalAgainstExhaustion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ffn := rapid.IntRange(1, 5).Draw(t, "ffn")
		slots := rapid.IntRange(0, ffn).Draw(t, "slots")
		s := anySets(t, ffn, 0, 9)
		if got, want := s.Optimal(ffn, slots, false, nil), leastMisses(s, ffn, slots); got != want {
			t.Fatalf("got %d misses, want %d", got, want)
		}
	})
}

// The replay of the least recently used against a plain list, where no set is
// larger than the cache. What a step uses moves to the front in its order.
func TestMissesLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ffn = 12
		slots := rapid.IntRange(4, ffn).Draw(t, "slots")
		var s Sets
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			ids := rapid.SliceOfNDistinct(rapid.Int32Range(0, ffn-1), 0, 4, rapid.ID[int32]).Draw(t, "set")
			slices.Sort(ids)
			s.Add(ids)
		}
		warm := make([]int32, slots)
		for i := range warm {
			warm[i] = int32(i)
		}
		recent := slices.Clone(warm)
		var want, got [][]int32
		for step := range s.Len() {
			var missed []int32
			for _, id := range s.At(step) {
				if !slices.Contains(recent, id) {
					missed = append(missed, id)
				}
			}
			for _, id := range s.At(step) {
				recent = slices.DeleteFunc(recent, func(r int32) bool { return r == id })
				recent = slices.Insert(recent, 0, id)
			}
			recent = recent[:slots]
			want = append(want, missed)
		}
		lru := func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) }
		n := s.Misses(ffn, slots, warm, lru, func(ids []int32) { got = append(got, slices.Clone(ids)) })
		if !slices.EqualFunc(got, want, slices.Equal[[]int32]) || n != len(slices.Concat(want...)) {
			t.Fatalf("got %d misses %v, want %v", n, got, want)
		}
	})
}

// A set larger than the cache evicts nobody: as the coordinator does, so that
// what is there stays.
func TestMissesOfLargeSets(t *testing.T) {
	var s Sets
	s.Add([]int32{0, 1})
	s.Add([]int32{2, 3, 4})
	s.Add([]int32{0, 1})
	lru := func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) }
	if n := s.Misses(5, 2, nil, lru, nil); n != 2+3 {
		t.Errorf("got %d misses, want those of the first two steps: 5", n)
	}
}

// Whatever the policy: no fewer misses than the optimum; none where all fits
// and is there; and the best set that never changes misses what it lacks.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ffn := rapid.IntRange(1, 10).Draw(t, "ffn")
		slots := rapid.IntRange(0, ffn).Draw(t, "slots")
		s := anySets(t, ffn, 1, 30)
		counts := s.Counts(ffn)
		hot := cache.Hottest(counts)
		least := s.Optimal(ffn, slots, false, nil)
		cold := 0
		for _, id := range hot[slots:] {
			cold += int(counts[id])
		}
		if got := s.Static(ffn, slots, nil); got != cold || got < least {
			t.Fatalf("static: got %d misses, want %d, at least the optimum of %d", got, cold, least)
		}
		for _, name := range cache.PolicyNames() {
			policy, err := cache.PolicyByName(name, ffn, &cache.Counts{Tokens: s.Len(), Neurons: [][]uint32{counts}})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Misses(ffn, slots, hot, policy, nil); got < least || slots == ffn && got > 0 {
				t.Fatalf("%s with %d of %d slots: got %d misses, want at least %d, and 0 where all fit", name, slots, ffn, got, least)
			}
		}
	})
}

// Counted by hand: shares, rates, joined reads, and the first steps left out.
func TestReplay(t *testing.T) {
	tr := &Trace{Info: Info{Layers: 2, FFN: 10, Stride: 100}, Sets: make([]Sets, 2)}
	for range 3 {
		tr.Sets[0].Add([]int32{0, 1, 3, 9})
		tr.Sets[1].Add([]int32{5})
	}
	row := func(o Options) Row {
		t.Helper()
		o.Policies = []string{"frozen"}
		rows, err := Replay(tr, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(o.Shares) {
			t.Fatalf("got %d rows, want %d", len(rows), len(o.Shares))
		}
		return rows[0]
	}
	// A profile that knows nothing keeps neuron 0 of each layer: 1, 3, 9 and 5 miss.
	blank := cache.NewCounts(2, 10)
	got := row(Options{Shares: []float64{0.1}, Seen: blank, Equal: true, Gap: 100})
	if want := (Row{Policy: "frozen", Cache: 0.1, Misses: 4.0 / 20, MissRate: 4.0 / 5, Reads: 3, ReadsHot: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := row(Options{Shares: []float64{0.1}, Seen: blank, Equal: true, Gap: 99}); got.Reads != 4 {
		t.Errorf("with a gap below one neuron: got %v reads, want 4", got.Reads)
	}
	// A profile of these very sets: hot ones lie side by side.
	seen, _ := tr.Profile(2)
	got = row(Options{Shares: []float64{0.2}, Seen: seen})
	if got.Misses != 2.0/20 || got.Reads != 2 || got.ReadsHot != 1 {
		t.Errorf("with a profile: got %+v, want a tenth missed, by two reads or in hot order one", got)
	}
	// A layer that wants nothing leaves its slots to the other.
	tr.Sets[1] = Sets{Ends: make([]int, 3)}
	seen, _ = tr.Profile(2)
	if got := row(Options{Shares: []float64{0.2}, Seen: seen}); got.Cache != 0.2 || got.Misses != 0 {
		t.Errorf("dealt by gain: got %+v, want a fifth cached and nothing missed", got)
	}
	if got := row(Options{Shares: []float64{0.2}, Seen: seen, Equal: true}); got.Cache != 0.2 || got.Misses != 2.0/20 {
		t.Errorf("dealt equally: got %+v, want a fifth cached and a tenth missed", got)
	}
	if _, err := Replay(tr, Options{Seen: seen, Shares: []float64{1.5}}); err == nil || !strings.Contains(err.Error(), "1.5") {
		t.Errorf("a cache of 150 %%: got %v", err)
	}
	if _, err := Replay(tr, Options{Seen: seen, Shares: []float64{1}, Policies: []string{"clock"}}); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("an unknown policy: got %v", err)
	}
	if _, err := Replay(tr, Options{Seen: cache.NewCounts(2, 9)}); err == nil || !strings.Contains(err.Error(), "9 neurons") {
		t.Errorf("another model's profile: got %v", err)
	}
}

// The statistics that a synthetic model was asked for, and a policy that counts
// comes close to the best set on it.
func TestSynthetic(t *testing.T) {
	m := Synthetic{Layers: 4, FFN: 2048, Active: 0.033, Skew: 0.26, Computed: 1.7, Steps: 600, Seed: 3}
	tr := m.Trace()
	if w, want := tr.Wanted(), m.Active*m.Computed*(layerActive(0)+layerActive(1./3)+layerActive(2./3)+layerActive(1))/4; math.Abs(w/want-1) > 0.02 {
		t.Errorf("wanted: got %v, want %v", w, want)
	}
	p := zipf(m.FFN, exponent(m.FFN, m.Active, m.Skew), m.Active)
	all, top := 0.0, 0.0
	for i, v := range p {
		all += v
		if i < int(m.Skew*float64(m.FFN)) {
			top += v
		}
	}
	if math.Abs(all/float64(m.FFN)/m.Active-1) > 1e-6 || math.Abs(top/all-0.8) > 0.01 {
		t.Errorf("got a mean of %v and %v of it by the hottest, want %v and 0.8", all/float64(m.FFN), top/all, m.Active)
	}
	seen, rest := tr.Profile(200)
	rows, err := Replay(rest, Options{Policies: []string{"lfu", "lru", staticRow, optimalRow}, Shares: []float64{0.33}, Seen: seen})
	if err != nil {
		t.Fatal(err)
	}
	lfu, lru, static, optimal := rows[0].Misses, rows[1].Misses, rows[2].Misses, rows[3].Misses
	if !(optimal < static && static < lfu && lfu < 1.15*static && 1.2*lfu < lru) {
		t.Errorf("got lfu %v, lru %v, static %v, optimal %v, want lfu within 15 %% of static and well below lru", lfu, lru, static, optimal)
	}
	again := m.Trace()
	if !slices.Equal(again.Sets[1].IDs, tr.Sets[1].IDs) {
		t.Error("the same seed drew other sets")
	}
}

// benchSets is one layer of OPT-6.7B's shape.
func benchSets() (Sets, int) {
	r := rand.New(rand.NewPCG(1, 1))
	return draw(r, zipf(16384, 1.04, 0.056), 64), 16384
}

// What a policy costs a token of one layer.
func BenchmarkPolicies(b *testing.B) {
	s, ffn := benchSets()
	for _, name := range cache.PolicyNames() {
		policy, err := cache.PolicyByName(name, ffn, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.Misses(ffn, ffn/3, nil, policy, nil)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*s.Len()), "µs/layer")
		})
	}
}
