package profile

import "github.com/sparseflow/sparseflow/internal/cache"

// Curve estimates how much of all activations the hottest neurons give:
// curve[k] is the share of the k+1 hottest, by their true frequencies. parts
// are counts by neuron, [parts][ffn], of disjoint parts of the tokens. It is
// nil without any activation. See the package doc for the estimate.
func Curve(parts [][]uint32) []float64 {
	ffn := len(parts[0])
	all := make([]uint32, ffn)
	for _, p := range parts {
		for i, n := range p {
			all[i] += n
		}
	}
	activations := total(all)
	if activations == 0 {
		return nil
	}
	apparent := make([]float64, ffn)
	addRanked(apparent, all, all)
	validated := make([]float64, ffn)
	others := make([]uint32, ffn)
	for _, p := range parts {
		for i, n := range p {
			others[i] = all[i] - n
		}
		addRanked(validated, others, p)
	}
	curve := make([]float64, ffn)
	sum := 0.0
	for k := range curve {
		sum += (apparent[k] + validated[k]) / 2
		curve[k] = sum / activations
	}
	return curve
}

// addRanked adds to each rank the count of the neuron that has the rank.
// Neurons of equal rank share their counts evenly, as if in random order.
func addRanked(dst []float64, rank, count []uint32) {
	order := cache.Hottest(rank)
	for first := 0; first < len(order); {
		last, sum := first, 0.0
		for ; last < len(order) && rank[order[last]] == rank[order[first]]; last++ {
			sum += float64(count[order[last]])
		}
		for k := first; k < last; k++ {
			dst[k] += sum / float64(last-first)
		}
		first = last
	}
}

// ShareFor is the smallest share of neurons that gives a share of the
// activations, read off a curve.
func ShareFor(curve []float64, activations float64) float64 {
	// Sums that ought to be equal differ in their last bits.
	const slack = 1e-9
	for k, v := range curve {
		if v >= activations-slack {
			return float64(k+1) / float64(len(curve))
		}
	}
	return 1
}
