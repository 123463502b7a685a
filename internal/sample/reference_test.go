package sample

import (
	"cmp"
	"math"
	"slices"
)

// referenceProbs is the package's definition written with sorts and maps, the
// oracle for random input.
func referenceProbs(p Params, logits []float32, previous []int32) []float64 {
	scores := slices.Clone(logits)
	if p.penalises() {
		seen := map[int32]bool{}
		for _, id := range previous {
			if seen[id] {
				continue
			}
			seen[id] = true
			if scores[id] < 0 {
				scores[id] *= p.RepetitionPenalty
			} else {
				scores[id] /= p.RepetitionPenalty
			}
		}
	}
	probs := make([]float64, len(logits))
	// Likeliest first, the higher id first among equals.
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(b, a))
	})
	if p.Greedy() {
		probs[slices.Index(scores, scores[order[0]])] = 1
		return probs
	}
	if k := p.TopK; k > 0 && k < len(order) {
		for k < len(order) && scores[order[k]] == scores[order[k-1]] {
			k++
		}
		order = order[:k]
	}
	weights := make([]float64, len(order))
	var total float64
	for i, id := range order {
		weights[i] = math.Exp((float64(scores[id]) - float64(scores[order[0]])) / float64(p.Temperature))
		total += weights[i]
	}
	if p.limitsMass() {
		var above float64
		n := 0
		for n < len(order) && float32(above/total) < p.TopP {
			above += weights[n]
			n++
		}
		order, weights = order[:n], weights[:n]
	}
	total = 0
	for i, w := range weights {
		if float32(w) < p.MinP {
			order, weights = order[:i], weights[:i]
			break
		}
		total += w
	}
	for i, id := range order {
		probs[id] = weights[i] / total
	}
	return probs
}
