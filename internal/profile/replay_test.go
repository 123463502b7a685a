package profile

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/weights"
)

// leastMisses tries every content of the cache after every token.
func leastMisses(s sets, ffn, slots int) int {
	var after [1 << 6]int // by content, the misses from the next token on
	for t := s.len() - 1; t >= 0; t-- {
		var before [1 << 6]int
		want := uint(s.at(t)[0])
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
		s := anySets(t, ffn, 9)
		if got, want := newTrace(s, ffn).optimal(slots), leastMisses(s, ffn, slots); got != want {
			t.Fatalf("got %d misses, want %d", got, want)
		}
	})
}

// The replay of the least recently used against a plain list, where no set is
// larger than the cache. What a token uses moves to the front in its order.
func TestReplayLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ffn = 12
		slots := rapid.IntRange(4, ffn).Draw(t, "slots")
		s := newSets(rapid.IntRange(1, 30).Draw(t, "tokens"), ffn)
		for token := range s.len() {
			for range 4 {
				s.add(token, rapid.IntRange(0, ffn-1).Draw(t, "id"))
			}
		}
		warm := make([]int32, slots)
		for i := range warm {
			warm[i] = int32(i)
		}
		recent, want := slices.Clone(warm), 0
		for token := range s.len() {
			ids := s.appendTo(nil, token)
			for _, id := range ids {
				if !slices.Contains(recent, id) {
					want++
				}
			}
			for _, id := range ids {
				recent = slices.DeleteFunc(recent, func(r int32) bool { return r == id })
				recent = slices.Insert(recent, 0, id)
			}
			recent = recent[:slots]
		}
		got := newTrace(s, ffn).replay(warm, func(_, n int) weights.EvictionPolicy { return weights.NewLRU(n) })
		if got != want {
			t.Fatalf("got %d misses, want %d", got, want)
		}
	})
}

// The frozen set misses what is not hot; the optimum is below every policy and
// falls with the size; at full size nothing misses.
func TestMisses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const ffn = 60
	s := draw(r, zipf(ffn, 1, 0.1), 400)
	c := make([]uint32, ffn)
	total := 0.0
	for t := range s.len() {
		for _, id := range s.appendTo(nil, t) {
			c[id]++
			total++
		}
	}
	hot := hottest(c)
	m := s.misses(hot)
	for i, share := range m.Cache {
		cold := 0.0
		for _, id := range hot[int(math.Round(share*ffn)):] {
			cold += float64(c[id])
		}
		if math.Abs(m.FrozenHot[i]-cold/total) > 1e-12 {
			t.Errorf("frozen at %v: got %v, want %v", share, m.FrozenHot[i], cold/total)
		}
		if m.Optimal[i] > m.LRU[i] || m.Optimal[i] > m.FrozenHot[i] || i > 0 && m.Optimal[i] > m.Optimal[i-1] {
			t.Errorf("at %v: got an optimum of %v, want at most lru's %v, frozen's %v and that of a smaller cache", share, m.Optimal[i], m.LRU[i], m.FrozenHot[i])
		}
	}
	if last := len(m.Cache) - 1; m.LRU[last] != 0 || m.FrozenHot[last] != 0 || m.Optimal[last] != 0 {
		t.Errorf("at full size: got %v, %v, %v, want no misses", m.LRU[last], m.FrozenHot[last], m.Optimal[last])
	}
	if got := newSets(9, ffn).misses(hot); got != nil {
		t.Errorf("without activations: got %+v, want nil", got)
	}
}
