package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
)

// router chooses the experts of tokens. Its memory serves again.
type router struct {
	scores []float32 // [experts]
	biased []float32 // [experts] scores as they are compared
	groups []float32 // [groups]
}

// route sets ids, [k], to the experts that a token's logits choose, ascending, and
// weights to what their outputs are multiplied with. bias is the router's ScoreBias, nil
// without. Sums are of float32, in ascending order of experts, for the weights to be the
// same whatever is computed together. A logit that is no number is an error.
func (r *router) route(m config.MoE, logits, bias []float32, ids []int32, weights []float32) error {
	for e, v := range logits {
		if !finite(v) {
			return fmt.Errorf("got %v as the router's score of expert %d, want a number", v, e)
		}
	}
	r.score(m.Router.Kind, logits)
	r.biased = append(r.biased[:0], r.scores...)
	for e, b := range bias {
		if r.biased[e] += b; !finite(r.biased[e]) {
			return fmt.Errorf("got %v as what is added to the router's score of expert %d, want a number", b, e)
		}
	}
	if m.Router.Groups > 1 {
		r.limit(m.Router)
	}
	for j := range ids {
		best := int32(-1)
		for e, v := range r.biased {
			if best < 0 || v > r.biased[best] {
				best = int32(e)
			}
		}
		ids[j] = best
		r.biased[best] = float32(math.Inf(-1))
		if j > 0 && slices.Contains(ids[:j], best) {
			return fmt.Errorf("got %d experts that the router may choose, want %d", j, len(ids))
		}
	}
	slices.Sort(ids)
	r.weigh(m.Router, ids, weights)
	for j, w := range weights {
		if !finite(w) {
			return fmt.Errorf("got %v as the router's weight of expert %d, want a number", w, ids[j])
		}
	}
	return nil
}

func finite(v float32) bool { return v-v == 0 }

// score sets the scores, which are compared and which weights are made of.
func (r *router) score(kind config.RouterKind, logits []float32) {
	r.scores = append(r.scores[:0], logits...)
	switch kind {
	case config.RouterSoftmax:
		softmax(r.scores)
	case config.RouterSigmoid:
		for e, v := range r.scores {
			r.scores[e] = sigmoid(v)
		}
	}
}

// limit leaves the experts of the best groups alone to be chosen.
func (r *router) limit(c config.Router) {
	size := len(r.biased) / c.Groups
	r.groups = r.groups[:0]
	for g := range c.Groups {
		first, second := float32(math.Inf(-1)), float32(math.Inf(-1))
		for _, v := range r.biased[g*size : (g+1)*size] {
			if v > first {
				first, second = v, first
			} else if v > second {
				second = v
			}
		}
		if size == 1 {
			second = 0
		}
		r.groups = append(r.groups, first+second)
	}
	for range c.Groups - c.TopGroups {
		worst := -1
		for g, v := range r.groups { // of equals the last
			if v == v && (worst < 0 || v <= r.groups[worst]) {
				worst = g
			}
		}
		r.groups[worst] = float32(math.NaN())
		for i := range size {
			r.biased[worst*size+i] = float32(math.Inf(-1))
		}
	}
}

// weigh sets the weights of the chosen.
func (r *router) weigh(c config.Router, ids []int32, weights []float32) {
	sum := float32(0)
	for j, e := range ids {
		weights[j] = r.scores[e]
	}
	if c.Kind == config.RouterSoftmaxChosen {
		softmax(weights)
	}
	for _, w := range weights {
		sum += w
	}
	for j := range weights {
		if c.Normalize {
			weights[j] /= sum + c.Epsilon
		}
		if c.Scale > 0 {
			weights[j] *= c.Scale
		}
	}
}

func softmax(x []float32) {
	most, sum := slices.Max(x), float32(0)
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - most)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }
