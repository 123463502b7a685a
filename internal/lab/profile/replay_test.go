package profile

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
)

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
	hot := cache.Hottest(c)
	m := s.misses(c).rates()
	for i, share := range m.Cache {
		cold := 0.0
		for _, id := range hot[int(math.Round(share*ffn)):] {
			cold += float64(c[id])
		}
		if math.Abs(m.FrozenHot[i]-cold/total) > 1e-12 {
			t.Errorf("frozen at %v: got %v, want %v", share, m.FrozenHot[i], cold/total)
		}
		if m.Optimal[i] > m.LFU[i] || m.Optimal[i] > m.LRU[i] || m.Optimal[i] > m.FrozenHot[i] || i > 0 && m.Optimal[i] > m.Optimal[i-1] {
			t.Errorf("at %v: got an optimum of %v, want at most lfu's %v, lru's %v, frozen's %v and that of a smaller cache", share, m.Optimal[i], m.LFU[i], m.LRU[i], m.FrozenHot[i])
		}
	}
	if last := len(m.Cache) - 1; m.LFU[last] != 0 || m.LRU[last] != 0 || m.FrozenHot[last] != 0 || m.Optimal[last] != 0 {
		t.Errorf("at full size: got %v, %v, %v, %v, want no misses", m.LFU[last], m.LRU[last], m.FrozenHot[last], m.Optimal[last])
	}
	if got := newSets(9, ffn).misses(c).rates(); got != nil {
		t.Errorf("without activations: got %+v, want nil", got)
	}
}
