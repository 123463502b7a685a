package placement

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// What a token moves, counted by hand: 2 layers of 100 neurons, 8 wide, f16, of
// which 5 are active and a predictor wants 10.
func TestTraffic(t *testing.T) {
	m := layoutOf(t, profile(10, 8, 2, 100, 10))
	in := with(m, config.Predicted, 640)
	for l := range in.Layers {
		in.Layers[l].Active, in.Layers[l].Computed = 0.05, 0.10
	}
	gate := in.mode(config.Predicted)
	gate.Layers[1].Mode = config.Gate
	const (
		head, row = 10 * 8 * 2, 8 * 2
		attention = 2 * 4 * 8 * 8 * 2
		matrices  = head + attention
		half      = 8 * 2
		neurons   = 2 * 100
		sparse    = 2 * (10 + 5) * half
		stride    = 512
	)
	for _, c := range []struct {
		what string
		in   Input
		want PerToken
	}{
		{"everything resident, dense", in.mode(config.Dense),
			PerToken{Layers: 2, FastBytes: matrices + neurons*2*half, CompleteBytes: neurons * 2 * half}},
		{"everything resident, gate", in.mode(config.Gate),
			PerToken{Layers: 2, FastBytes: matrices + (neurons+10)*half, CompleteBytes: (neurons + 10) * half}},
		{"everything resident, predicted", in,
			PerToken{Layers: 2, FastBytes: matrices + 2*640 + sparse, NeuronBytes: sparse}},
		{"one layer cheaper as a gate", gate,
			PerToken{Layers: 2, FastBytes: matrices + 640 + sparse/2 + (100+5)*half, NeuronBytes: sparse / 2, CompleteBytes: (100 + 5) * half}},
		{"a quarter in slots, dense", in.mode(config.Dense).ratio(0.25),
			PerToken{Layers: 2, FastBytes: matrices + neurons*2*half, NeuronBytes: neurons * 2 * half, SlowBytes: 150 * stride, Misses: 150, Reads: 6}},
		{"everything resident, so that nothing is ahead", in.async(),
			PerToken{Layers: 2, FastBytes: matrices + 2*640 + sparse, NeuronBytes: sparse}},
	} {
		if got := mustPlan(t, c.in).Token; got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
		}
	}
	some := mustPlan(t, in.async().ratio(0.5)).Token
	if want := int64(matrices + 2*2*640 + sparse); some.FastBytes != want || some.Misses <= 0 || some.Misses >= 20 {
		t.Errorf("asked ahead too: got %+v, want %d fast bytes and some of 20 neurons missed", some, want)
	}
	least := mustPlan(t, in.budget(config.Budget{Bytes: mustPlan(t, in).Process.MinimumBytes})).Token
	if want := int64(matrices + row); least.StreamedBytes != want || math.Abs(least.Misses-20) > 0.01 {
		t.Errorf("nothing resident: got %+v, want %d bytes of matrices streamed and every wanted neuron missed", least, want)
	}
}

// The reads of neurons that lie anywhere are as many and as long as joining them
// one after the other makes them.
func TestJoined(t *testing.T) {
	const ffn = 3000
	rng := rand.New(rand.NewPCG(1, 2))
	join := disk.AssumedDisk().Joins
	for _, stride := range []int64{512, 1536, 8192, 32768} {
		p := planner{units: units{largest: stride}, profile: config.ModelProfile{FFN: ffn, Activation: config.ReLU}}
		for _, n := range []int{3, 30, 300, 2900} {
			bundles, reads := 0, 0
			const rounds = 400
			for range rounds {
				first, last := -ffn, -ffn // of the run
				for i, left := 0, n; i < ffn && left > 0; i++ {
					if rng.IntN(ffn-i) >= left {
						continue
					}
					left--
					size, gap := int64(last-first+1), int64(i-last-1)
					if i-first < fullRun && (gap == 0 || join(size*stride, gap*stride, stride)) {
						bundles += int(gap) + 1
					} else {
						first, bundles, reads = i, bundles+1, reads+1
					}
					last = i
				}
			}
			gotBundles, gotReads := p.joined(float64(n))
			if !near(gotBundles, float64(bundles)/rounds, 0.1) || !near(gotReads, float64(reads)/rounds, 0.1) {
				t.Errorf("%d bundles of %d bytes: got %.1f in %.1f reads, want %.1f in %.1f", n, stride, gotBundles, gotReads, float64(bundles)/rounds, float64(reads)/rounds)
			}
		}
	}
}

// The misses are those of the default policy on tokens that want neurons as their
// ranks say, some of which come again.
func TestMisses(t *testing.T) {
	const ffn = 1000
	for _, c := range []struct{ active, slots float64 }{{0.02, 0.1}, {0.02, 0.3}, {0.02, 0.7}, {0.05, 0.3}, {0.05, 0.9}} {
		wanted := wantedBy(published(ffn, c.active), 2*c.active)
		slots := int(c.slots * ffn)
		var p planner
		got, want := p.misses(wanted, float64(slots)), simulated(wanted, ffn, slots)
		if !near(got, want, 0.25) {
			t.Errorf("%v active, slots for %v: got %.2f misses, want %.2f", c.active, c.slots, got, want)
		}
	}
}

// simulated is the misses of a token in the middle of a text.
func simulated(wanted []Rank, ffn, slots int) float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	policy, err := cache.PolicyByName(cache.DefaultPolicy, ffn, nil)
	if err != nil {
		panic(err)
	}
	var w *cache.WeightCache
	at := make([]int32, ffn)
	misses, texts := 0, 4
	var text [][]int32
	for token := range texts * 2 * textTokens {
		if token%(2*textTokens) == 0 {
			text = nil
			w = cache.NewWeightCache(ffn, []int{slots}, policy)
			all := make([]int32, ffn)
			for i := range all {
				all[i] = int32(ffn - 1 - i) // the filled slots hold anyone
			}
			w.Acquire(0, all, at, false, nil)
			w.Release(0, at, false)
		}
		ids := drawn(wanted, rng)
		if len(text) > 0 && rng.Float64() < repeats {
			ids = text[len(text)-1-rng.IntN(min(len(text), textTokens))]
		}
		text = append(text, ids)
		grants := w.Acquire(0, ids, at[:len(ids)], len(ids) <= slots, nil)
		if len(text) > textTokens/2 {
			misses += len(grants)
		}
		w.Release(0, at[:len(ids)], true)
	}
	return float64(misses) / float64(texts*3*textTokens/2)
}

// drawn is the neurons that a token wants.
func drawn(wanted []Rank, rng *rand.Rand) (ids []int32) {
	first := 0
	for _, r := range wanted {
		for i := range int(r.Neurons) {
			if rng.Float64() < r.P {
				ids = append(ids, int32(first+i))
			}
		}
		first += int(r.Neurons)
	}
	return ids
}

func near(got, want, within float64) bool { return math.Abs(got-want) <= within*want+0.05 }

// Each kind of byte takes the time of its own rate, one after the other, but that
// what streams is multiplied meanwhile.
func TestSeconds(t *testing.T) {
	token, rates := PerToken{FastBytes: 53, NeuronBytes: 20, CompleteBytes: 16, SlowBytes: 9, StreamedBytes: 3, Layers: 2}, Rates{Rows: 7, Neurons: 4, Complete: 8, Random: 2, InOrder: 3, Layer: 5}
	if got, want := token.Seconds(rates), 2.0+5+2+3+1+10; got != want {
		t.Errorf("got %v s, want %v", got, want)
	}
	rates.InOrder = 14 // faster than it is multiplied
	if got, want := token.Seconds(rates), 2.0+5+2+3+3.0/7+10; math.Abs(got-want) > 1e-9 {
		t.Errorf("from a fast disk: got %v s, want %v", got, want)
	}
}
