package engine_test

import (
	"context"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// Law 1 for quantised weights, whole, by class, and where some rows stay
// float16.
func TestQuantisedExactWhateverThePlacement(t *testing.T) {
	proj := os.DirFS(goldenDir + "opt/post-norm-proj")
	for name, path := range map[string]string{
		"q8_0":                small(t, convert.Options{Attn: convert.Q8_0, MLP: convert.Q8_0}),
		"q4_0":                small(t, convert.Options{Attn: convert.Q4_0, MLP: convert.Q4_0}),
		"projected, by class": packAs(t, proj, "proj", convert.Options{Attn: convert.Q4_0, MLP: convert.Q8_0}),
	} {
		t.Run(name, func(t *testing.T) { checkVariants(t, path) })
	}
}

// A prompt's tokens get from the batched kernels what decoding gets from the
// single ones.
func TestQuantisedPrefillEqualsDecode(t *testing.T) {
	for _, q := range []convert.Quant{convert.Q8_0, convert.Q4_0} {
		e := open(t, packAs(t, tiny.Files, "tiny", convert.Options{Attn: q, MLP: q}), engine.Options{Strategy: strategy(config.Gate, 0.7)})
		ids := prompt(4096, 20)
		logits := map[int][]float32{}
		keep := func(at int, l []float32) { logits[at] = slices.Clone(l) }
		res, err := e.Run(context.Background(), engine.Request{IDs: ids, MaxTokens: 12, IgnoreEOS: true, Logits: keep})
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(ids, res.IDs)
		_, err = e.Run(context.Background(), engine.Request{IDs: all, IgnoreEOS: true, Logits: func(at int, l []float32) {
			if want, ok := logits[at]; ok && apart(l, want) > 1e-5 {
				t.Errorf("%s: token %d: got logits %g of the largest apart, want 1e-5", q, at, apart(l, want))
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Quantised weights stay close to the reference's logits: as a share of the
// largest, root mean square over a prompt's last token.
func TestQuantisedIsCloseToGolden(t *testing.T) {
	g := readGolden(t, goldenDir+"tiny/golden.json")
	for _, c := range []struct {
		o     convert.Options
		bound float64
	}{
		{convert.Options{Attn: convert.Q8_0, MLP: convert.Q8_0}, 0.01},
		{convert.Options{Attn: convert.Q8_0, MLP: convert.Q4_0}, 0.1},
		{convert.Options{Attn: convert.Q4_0, MLP: convert.Q4_0}, 0.1},
	} {
		e := open(t, packAs(t, tiny.Files, "tiny", c.o), engine.Options{Strategy: strategy(config.Dense, 3)})
		for n, gc := range g.Cases {
			var last []float32
			_, err := e.Run(context.Background(), engine.Request{IDs: gc.IDs, Logits: func(at int, l []float32) {
				if at == len(gc.IDs)-1 {
					last = slices.Clone(l)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if d := rms(last, gc.Last); d > c.bound || d == 0 {
				t.Errorf("%v: case %d: got logits %g of the largest apart, want more than 0 and at most %g", c.o, n, d, c.bound)
			}
		}
	}
}

// rms is the root mean square of the differences as a share of the largest
// logit.
func rms(got, want []float32) float64 {
	var sum, top float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		sum += d * d
		top = max(top, math.Abs(float64(w)))
	}
	return math.Sqrt(sum/float64(len(want))) / top
}

// The placement counts the memory that activations are rounded in, beside that
// of the products of many tokens.
func TestQuantisedActivationsAreCounted(t *testing.T) {
	for _, q := range []convert.Quant{convert.F16, convert.Q8_0, convert.Q4_0} {
		for _, o := range []convert.Options{{Attn: q, MLP: convert.F16}, {Attn: convert.F16, MLP: q}} {
			p, err := pack.Open(packAs(t, tiny.Files, "tiny", o))
			if err != nil {
				t.Fatal(err)
			}
			place, err := engine.Plan(p.Layout, engine.Options{Strategy: strategy(config.Dense, 1)})
			if err != nil {
				t.Fatal(err)
			}
			profile := p.Profile()
			want := cpu.TileBytes(place.Threads, profile.HiddenSize, place.Chunk, model.HiddenSize(profile, place.Chunk))
			if q != convert.F16 {
				want += int64((place.Chunk + 1) * max(kernel.QuantXBytes(profile.HiddenSize), kernel.RoundXBytes(profile.HiddenSize)))
			}
			want = model.ScratchBytes(profile, place.Chunk) + placement.OnHeap(want)
			i := slices.IndexFunc(place.Tiers[0].Items, func(it placement.Item) bool { return it.What == "activations" })
			if got := place.Tiers[0].Items[i].Bytes; got != want {
				t.Errorf("%v: got %d bytes of activations for %d tokens, want %d", o, got, place.Chunk, want)
			}
			p.Close()
		}
	}
}
