package placement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
)

// drawCounts is any profile of a few layers.
func drawCounts(t *rapid.T, layers, ffn int) *cache.Counts {
	c := cache.NewCounts(layers, ffn)
	c.Tokens = rapid.IntRange(1, 1000).Draw(t, "tokens")
	for l := range c.Neurons {
		most := uint32(rapid.IntRange(0, c.Tokens).Draw(t, "most"))
		for i := range c.Neurons[l] {
			c.Neurons[l][i] = uint32(rapid.Uint64().Draw(t, "count") % uint64(most+1))
		}
	}
	return c
}

// missed is the activations of neurons without a slot.
func missed(c *cache.Counts, slots []int) (n uint64) {
	for l, k := range slots {
		for _, id := range c.Hottest(l)[k:] {
			n += uint64(c.Neurons[l][id])
		}
	}
	return n
}

// Whatever the profile: all slots are dealt, no layer gets more than it has
// neurons, more in all is no less for any layer, nobody has less than a token
// needs while another has more, and nothing misses more than with equal layers
// where all have what they need.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers, ffn := rapid.IntRange(1, 4).Draw(t, "layers"), rapid.SampledFrom([]int{1, 5, 30, 300}).Draw(t, "ffn")
		c := drawCounts(t, layers, ffn)
		each := rapid.IntRange(0, ffn).Draw(t, "each")
		slots := Deal(each*layers, c)
		sum := 0
		for _, n := range slots {
			sum += n
		}
		if sum != each*layers || slices.Max(slots) > ffn || slices.Min(slots) < 0 {
			t.Fatalf("got %v, want %d slots in all and at most %d a layer", slots, each*layers, ffn)
		}
		for l, n := range Deal(each*layers+rapid.IntRange(0, 50).Draw(t, "more"), c) {
			if n < slots[l] {
				t.Fatalf("layer %d: got %d slots of more, want at least the %d of fewer", l, n, slots[l])
			}
		}
		block := max(1, ffn/dealBlocks)
		needs := make([]int, layers)
		for l := range c.Neurons {
			all := 0.0
			for _, n := range c.Neurons[l] {
				all += float64(n)
			}
			needs[l] = min(ffn, int(setsAtLeast*all/float64(c.Tokens)))
		}
		for l, n := range slots {
			if n < min(needs[l], each-block) {
				t.Fatalf("got %v with %d each, want at least the %d that layer %d needs, or as many as all can have", slots, each, needs[l], l)
			}
		}
		if block == 1 && slices.Max(needs) <= each {
			equal := slices.Repeat([]int{each}, layers)
			if missed(c, slots) > missed(c, equal) {
				t.Fatalf("got %v, which misses %d, want at most the %d of equal layers", slots, missed(c, slots), missed(c, equal))
			}
		}
	})
}

// By hand: a layer that is never active leaves its slots to the one that gains.
func TestDealByGain(t *testing.T) {
	c := cache.NewCounts(3, 8)
	c.Tokens = 100
	c.Neurons[0] = []uint32{0, 10, 9, 8, 7, 6, 0, 0}
	c.Neurons[2] = []uint32{1, 1, 1, 1, 1, 1, 1, 1}
	if got := Deal(6, c); !slices.Equal(got, []int{5, 0, 1}) {
		t.Errorf("got %v, want 5 for the hot layer and 1 for the cool one", got)
	}
	if got := Deal(24, c); !slices.Equal(got, []int{8, 8, 8}) {
		t.Errorf("got %v, want all", got)
	}
	if got := Deal(30, c); !slices.Equal(got, []int{8, 8, 8}) {
		t.Errorf("more than there are neurons: got %v, want all", got)
	}
	// Equal gains are dealt equally.
	if got := Deal(7, cache.NewCounts(3, 8)); !slices.Equal(got, []int{3, 2, 2}) {
		t.Errorf("without activations: got %v, want 3, 2, 2", got)
	}
}

// With a profile the same bytes go to other layers, in predicted mode alone,
// and a token is expected to read less.
func TestPlanWithProfile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		in = in.budget(drawBudget(t, in))
		p, err := Plan(in)
		if err != nil {
			return
		}
		profile := in.Layout.Profile()
		hot := in
		hot.Counts = drawCounts(t, profile.Layers, min(profile.FFN, 400))
		for l, n := range hot.Counts.Neurons { // quick to draw
			hot.Counts.Neurons[l] = append(n, make([]uint32, profile.FFN-len(n))...)
		}
		q := mustPlan(t, hot)
		sum := func(p *Placement) (n int) {
			for _, k := range p.Slots {
				n += k
			}
			return n
		}
		if sum(p) != sum(q) || p.MemoryBytes != q.MemoryBytes || p.Process != q.Process {
			t.Fatalf("got %d slots in %d bytes, want %d in %d as without a profile", sum(q), q.MemoryBytes, sum(p), p.MemoryBytes)
		}
		known := p.Mode == config.Predicted
		if !known && !slices.Equal(p.Slots, q.Slots) {
			t.Fatalf("mode %s, predicted %v: got %v, want the layers equal", p.Mode, p.Predicted, q.Slots)
		}
		if known && !slices.Equal(q.Slots, Deal(sum(p), hot.Counts)) {
			t.Fatalf("got %v, want what the profile says", q.Slots)
		}
	})
}
