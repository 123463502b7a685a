package engine_test

import (
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
)

// everyOther wants the even neurons, or the odd ones, by a bit of the input.
type everyOther struct{ ffn int }

func (p everyOther) Scores(_, tokens int, x, scores []float32) error {
	d := len(x) / tokens
	for t := range tokens {
		odd := int(math.Float32bits(x[t*d]) & 1)
		for i := range p.ffn {
			scores[t*p.ffn+i] = float32(1 - 2*((i+odd)%2))
		}
	}
	return nil
}

// keeper is a policy that evicts nothing.
type keeper struct{ cache.EvictionPolicy }

func (keeper) Victim(func(int) bool) int { return -1 }

// A cache that makes no room for half of a layer's neurons changes nothing, even
// if they need more than one filling of the ring, which is known only when those
// that are there are computed.
func TestExactWithoutRoom(t *testing.T) {
	path := tinyPack(t)
	run := func(share float64, p cache.NewPolicy) outcome {
		o := engine.Options{Strategy: strategy(config.Predicted, share), Predictor: everyOther{1024}, Multiple: 1, Policy: p}
		e := open(t, path, o)
		if place := e.Placement(); p != nil && (slices.Min(place.Slots) < 512 || slices.Max(place.Slots) > 1000-place.RingSlots) {
			t.Fatalf("got %d slots, a ring of %d, want half of the neurons in slots and more than half a ring of them missing", place.Slots, place.RingSlots)
		}
		return outcomeOf(t, e, prompt(4096, 10), 40)
	}
	want := run(3, nil)
	got := run(0.8, func(_, slots int) cache.EvictionPolicy { return keeper{cache.NewLRU(slots)} })
	if got.logits != want.logits || !slices.Equal(got.ids, want.ids) || got.stats.Computed != want.stats.Computed {
		t.Errorf("got %x %v, want %x %v", got.logits, got.ids, want.logits, want.ids)
	}
}
