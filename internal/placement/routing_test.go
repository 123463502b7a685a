package placement

import (
	"math"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
)

// The hits are those that a recorded cache had on routing drawn as the traces are, at
// shares of 6, 10, 20, 30, 40, 58 and 75 %.
func TestHitsOfRouting(t *testing.T) {
	for _, c := range []struct {
		experts, topK int
		want          [7]float64
	}{
		{128, 8, [7]float64{.40, .50, .77, .91, .96, .987, .992}},
		{256, 8, [7]float64{.40, .53, .79, .91, .96, .980, .985}},
		{512, 10, [7]float64{.41, .54, .79, .91, .95, .97, .98}},
	} {
		hits := assumedUsage(c.experts, 0.5).hits(c.topK, true)
		for i, share := range []float64{.06, .10, .20, .30, .40, .58, .75} {
			if got := hits[int(share*float64(c.experts)+.5)]; math.Abs(got-c.want[i]) > 0.04 {
				t.Errorf("%d of %d experts, slots for %v: got %.3f, want %.3f", c.topK, c.experts, share, got, c.want[i])
			}
		}
		for n := range c.experts {
			if hits[n] > hits[n+1] {
				t.Errorf("%d experts: got %v hits with %d slots and %v with one more", c.experts, hits[n], n, hits[n+1])
			}
		}
	}
	if flat, deep := assumedUsage(128, 0).hits(8, true), assumedUsage(128, 1).hits(8, true); flat[32] >= deep[32] {
		t.Errorf("got %.3f hits in the first layer and %.3f in the last, want fewer in the first", flat[32], deep[32])
	}
}

// Experts that were counted are as hot as that.
func TestHitsOfCounts(t *testing.T) {
	counts := make([]uint32, 64)
	for i := range counts {
		counts[i] = 10
	}
	even := countedUsage(counts).hits(4, false)
	counts[7], counts[9], counts[20], counts[33] = 5000, 5000, 5000, 5000
	hot := countedUsage(counts).hits(4, false)
	if even[8] > 0.35 || hot[8] < 0.8 {
		t.Errorf("8 slots of 64: got %.3f hits of experts that are used alike and %.3f where 4 are hot", even[8], hot[8])
	}
}

// What a token moves, counted by hand: 4 layers, one of them dense, of 32 experts of
// which each token wants 4.
func TestTrafficOfExperts(t *testing.T) {
	in := expertInput(t)
	m := in.Layout
	dense := int64(0)
	for _, x := range matricesOf(m) {
		dense += x
	}
	all := mustPlan(t, in).Token
	expert := m.ExpertBytes(0)
	if all.Experts != 12 || all.Misses != 0 || all.SlowBytes != 0 || all.FastBytes != dense+12*expert {
		t.Errorf("all in memory: got %+v, want 12 experts of %d bytes beside %d", all, expert, dense)
	}
	before := 12.0
	for _, slots := range []float64{0, 2, 4, 8, 16, 31} {
		p := mustPlan(t, in.ratio(slots/32))
		got := p.Token
		if got.Misses > before || slots == 0 && got.Misses != 12 || got.Misses <= 0 {
			t.Errorf("%v slots: got %v misses, want fewer than %v, and all of 12 with none", slots, got.Misses, before)
		}
		if want := int64(got.Misses * float64(m.ExpertRoom(0))); math.Abs(float64(got.ExpertBytes-want)) > 4 || got.SlowBytes != got.ExpertBytes {
			t.Errorf("%v slots: got %d bytes read, %d of experts, want %d", slots, got.SlowBytes, got.ExpertBytes, want)
		}
		before = got.Misses
	}
	hot := in.ratio(2.0 / 32)
	hot.Counts = cache.NewCounts(4, 32)
	for l := range hot.Counts.Neurons {
		hot.Counts.Neurons[l][3], hot.Counts.Neurons[l][5] = 1000, 1000
	}
	if got := mustPlan(t, hot).Token; got.Misses > 1 {
		t.Errorf("2 hot experts in 2 slots: got %v misses, want hardly any", got.Misses)
	}
}

// Experts are read while others are multiplied: a token takes the longer of both.
func TestSecondsOfExperts(t *testing.T) {
	rates := Rates{Rows: 10, Random: 2, InOrder: 4, Layer: 1}
	token := PerToken{FastBytes: 100, SlowBytes: 12, ExpertBytes: 8, StreamedBytes: 4, Experts: 3, Layers: 2}
	if got := token.Seconds(rates); got != 12 {
		t.Errorf("got %v s, want 12: 10 of memory and 2 of layers", got)
	}
	rates.Random = 0.5
	if got := token.Seconds(rates); got != 19 {
		t.Errorf("from a slow disk: got %v s, want 19", got)
	}
}
