package model

import (
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
)

// plainRoute is what route computes, in plain steps and float64: the experts, best
// first, and their weights.
func plainRoute(m config.MoE, logits, bias []float32) (ids []int32, weights []float64) {
	n := len(logits)
	scores, biased := make([]float64, n), make([]float64, n)
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v))
	}
	for e, v := range logits {
		switch m.Router.Kind {
		case config.RouterSoftmax:
			scores[e] = math.Exp(float64(v)) / sum
		case config.RouterSigmoid:
			scores[e] = 1 / (1 + math.Exp(-float64(v)))
		default:
			scores[e] = float64(v)
		}
		if biased[e] = scores[e]; bias != nil {
			biased[e] += float64(bias[e])
		}
	}
	all := make([]int32, n)
	for e := range all {
		all[e] = int32(e)
	}
	if g := m.Router.Groups; g > 1 {
		groups := make([]int, g)
		value := make([]float64, g)
		for i := range groups {
			of := slices.Clone(biased[i*n/g : (i+1)*n/g])
			sort.Sort(sort.Reverse(sort.Float64Slice(of)))
			groups[i], value[i] = i, of[0]
			if len(of) > 1 {
				value[i] += of[1]
			}
		}
		sort.SliceStable(groups, func(i, j int) bool { return value[groups[i]] > value[groups[j]] })
		all = slices.DeleteFunc(all, func(e int32) bool { return !slices.Contains(groups[:m.Router.TopGroups], int(e)/(n/g)) })
	}
	sort.SliceStable(all, func(i, j int) bool { return biased[all[i]] > biased[all[j]] })
	ids = all[:m.TopK]
	sum = 0
	for _, e := range ids {
		w := scores[e]
		if m.Router.Kind == config.RouterSoftmaxChosen {
			w = math.Exp(w)
		}
		weights, sum = append(weights, w), sum+w
	}
	for j := range weights {
		if m.Router.Kind == config.RouterSoftmaxChosen {
			weights[j] /= sum
		}
		if m.Router.Normalize {
			weights[j] /= sum + float64(m.Router.Epsilon)
		}
		if m.Router.Scale > 0 {
			weights[j] *= float64(m.Router.Scale)
		}
	}
	return ids, weights
}

// Routers of every kind choose as the formula says, of equals the lower number.
func TestRoute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group := rapid.IntRange(1, 6).Draw(t, "experts of a group")
		groups := rapid.IntRange(1, 4).Draw(t, "groups")
		m := config.MoE{Experts: group * groups, Width: 1, Router: config.Router{
			Kind:   rapid.SampledFrom([]config.RouterKind{config.RouterSoftmax, config.RouterSoftmaxChosen, config.RouterSigmoid}).Draw(t, "kind"),
			Groups: groups, TopGroups: rapid.IntRange(1, groups).Draw(t, "top groups"),
			Normalize: rapid.Bool().Draw(t, "normalize"), Epsilon: rapid.SampledFrom([]float32{0, 1e-6}).Draw(t, "epsilon"),
			Scale: rapid.SampledFrom([]float32{0, 2.5}).Draw(t, "scale"),
		}}
		if m.Router.Kind == config.RouterSoftmaxChosen {
			m.Router.Normalize = false // its sum is 1
		}
		m.TopK = rapid.IntRange(1, group*m.Router.TopGroups).Draw(t, "k")
		// Quarters tie often, and their sums are exact.
		quarter := rapid.Custom(func(t *rapid.T) float32 { return float32(rapid.IntRange(-8, 8).Draw(t, "quarters")) / 4 })
		logits := rapid.SliceOfN(quarter, m.Experts, m.Experts).Draw(t, "logits")
		var bias []float32
		if rapid.Bool().Draw(t, "biased") {
			bias = rapid.SliceOfN(quarter, m.Experts, m.Experts).Draw(t, "bias")
		}
		var r router
		ids, weights := make([]int32, m.TopK), make([]float32, m.TopK)
		if err := r.route(m, logits, bias, ids, weights); err != nil {
			t.Fatal(err)
		}
		want, by := plainRoute(m, logits, bias)
		if !slices.Equal(ids, slices.Sorted(slices.Values(want))) {
			// float32 may order what float64 finds equal but for its last bits, if bias is
			// added to scores that are no multiples of a quarter.
			if bias == nil || m.Router.Kind == config.RouterSoftmaxChosen {
				t.Fatalf("got %v of logits %v, want %v", ids, logits, want)
			}
			return
		}
		for j, e := range ids {
			w := by[slices.Index(want, e)]
			if d := math.Abs(float64(weights[j]) - w); d > 1e-6*math.Max(1, math.Abs(w)) {
				t.Fatalf("got weight %v of expert %d, want %v", weights[j], e, w)
			}
		}
	})
}

// What is no number names no expert.
func TestRouteNaN(t *testing.T) {
	m := config.MoE{Experts: 3, TopK: 2, Width: 1, Router: config.Router{Kind: config.RouterSoftmax}}
	grouped := config.MoE{Experts: 4, TopK: 2, Width: 1, Router: config.Router{Kind: config.RouterSigmoid, Groups: 2, TopGroups: 1, Normalize: true}}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		m            config.MoE
		logits, bias []float32
	}{
		{m, []float32{1, nan, 2}, nil}, {m, []float32{inf, 0, 0}, nil}, {m, []float32{0, 0, -inf}, nil}, {m, []float32{0, 1, 2}, []float32{0, nan, 0}},
		{grouped, []float32{0, 1, 2, 3}, []float32{inf, -inf, inf, -inf}},
		{grouped, []float32{-200, -200, -200, -200}, nil}, // weights of 0 / 0
	} {
		var r router
		if err := r.route(c.m, c.logits, c.bias, make([]int32, 2), make([]float32, 2)); err == nil || !strings.Contains(err.Error(), "want a number") {
			t.Errorf("%v and %v: got %v, want an error about what is no number", c.logits, c.bias, err)
		}
	}
}

// Pairs are numbered expert by expert, and tokens in order within each.
func TestGroup(t *testing.T) {
	r := newRouting(6, 2, 3)
	copy(r.chosen, []int32{1, 4, 0, 4, 1, 5})
	r.group(3)
	if !slices.Equal(r.ids, []int32{0, 1, 4, 5}) || !slices.Equal(r.work.First, []int32{0, 1, 3, 5, 6}) ||
		!slices.Equal(r.work.Tokens, []int32{1, 0, 2, 0, 1, 2}) || !slices.Equal(r.pairs, []int32{1, 3, 0, 4, 2, 5}) {
		t.Errorf("got experts %v from pairs %v on, tokens %v, pairs %v", r.ids, r.work.First, r.work.Tokens, r.pairs)
	}
}
