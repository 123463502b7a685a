package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
)

// hotShare is the share of neurons that counts as hot when two texts are
// compared.
const hotShare = 0.2

// Overlap is what a second text has in common with the first in one layer.
type Overlap struct {
	// Spearman is the rank correlation of the neurons' frequencies.
	Spearman float64 `json:"spearman"`
	// Jaccard is that of the two sets of hottest 20 % of neurons.
	Jaccard float64 `json:"jaccard"`
	// Covered is the share of the second text's activations that the first's
	// hottest 20 % of neurons give, Own what the second's own hottest do by
	// the corrected curve.
	Covered float64 `json:"covered"`
	Own     float64 `json:"covered_own"`
}

// Compare adds to r what the recording of another text, by the same model,
// has in common with r's.
func (r *Report) Compare(other *Recording) error {
	if len(other.layers) != len(r.Layers) || other.FFN != r.ffn {
		return fmt.Errorf("profile: compare: got a recording of %d layers of %d neurons, want %d of %d", len(other.layers), other.FFN, len(r.Layers), r.ffn)
	}
	r.AgainstTokens = other.Tokens
	var sum Overlap
	n := 0
	for l := range r.Layers {
		o := &other.layers[l]
		v, ok := overlap(r.counts.Neurons[l], o.counts(), Curve(o.folds[:]))
		if !ok {
			continue
		}
		r.Layers[l].Against = &v
		sum.Spearman += v.Spearman
		sum.Jaccard += v.Jaccard
		sum.Covered += v.Covered
		sum.Own += v.Own
		n++
	}
	if n > 0 {
		f := float64(n)
		r.Mean.Against = &Overlap{sum.Spearman / f, sum.Jaccard / f, sum.Covered / f, sum.Own / f}
	}
	return nil
}

// overlap compares counts a with b, whose curve is given. ok is false where
// one of them has no activation.
func overlap(a, b []uint32, curve []float64) (o Overlap, ok bool) {
	if curve == nil || total(a) == 0 {
		return o, false
	}
	n := max(1, int(math.Round(hotShare*float64(len(a)))))
	hot := make([]bool, len(a))
	covered := 0.0
	for _, id := range cache.Hottest(a)[:n] {
		hot[id] = true
		covered += float64(b[id])
	}
	both := 0
	for _, id := range cache.Hottest(b)[:n] {
		if hot[id] {
			both++
		}
	}
	return Overlap{
		Spearman: spearman(a, b),
		Jaccard:  float64(both) / float64(2*n-both),
		Covered:  covered / total(b),
		Own:      curve[n-1],
	}, true
}

// spearman is the correlation of the ranks of a and b, equal values having
// their mean rank; 0 where one of them is all equal.
func spearman(a, b []uint32) float64 {
	ra, rb := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var ab, aa, bb float64
	for i := range ra {
		x, y := ra[i]-mean, rb[i]-mean
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// ranks is each value's rank from 0 on, equal values having their mean rank.
func ranks(v []uint32) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(v[i], v[j]) })
	r := make([]float64, len(v))
	for first := 0; first < len(order); {
		last := first
		for last < len(order) && v[order[last]] == v[order[first]] {
			last++
		}
		for _, i := range order[first:last] {
			r[i] = float64(first+last-1) / 2
		}
		first = last
	}
	return r
}
