package lowrank

import (
	"errors"
	"fmt"
	"math"
)

// MinTokens is the fewest tokens that can be trained on or measured with:
// below it a layer's rare neurons have not fired once.
const MinTokens = 64

// ErrSilent is in the chain of errors about data in which no neuron is active.
// There are such layers; what is right for one (no predictor, every neuron) is
// the caller's to say.
var ErrSilent = errors.New("got no active neuron")

// Data is what one layer's neurons did: for each token the input of the MLP
// and the pre-activations above zero. A neuron that is not listed was silent,
// which is all the loss needs to know, so that a token with 3 % active costs
// a seventeenth of its dense pre-activations. Fill it with Add; it is not
// changed by training, and several trainings may share it.
type Data struct {
	d, ffn int
	x      []float32 // [tokens, d]
	ids    []int32   // active neurons, token after token, ascending within one
	values []float32 // [len(ids)] their pre-activations, > 0
	ends   []int     // [tokens] where each token's ids end
}

// NewData is empty data for a layer of ffn neurons with inputs of length d.
func NewData(d, ffn int) (*Data, error) {
	if d < 1 || ffn < 1 || ffn > math.MaxInt32 {
		return nil, fmt.Errorf("lowrank: new data: got d %d, ffn %d, want both from 1", d, ffn)
	}
	return &Data{d: d, ffn: ffn}, nil
}

// Add appends tokens: x [tokens, d] are their inputs and pre [tokens, ffn]
// their pre-activations fc1 x + bias. Both are copied. Infinity or NaN
// anywhere is an error that says where, and then nothing is appended.
func (a *Data) Add(x, pre []float32) error {
	tokens := len(x) / a.d
	if len(x) != tokens*a.d || len(pre) != tokens*a.ffn {
		return fmt.Errorf("lowrank: add data: got %d inputs and %d pre-activations, want multiples of %d and %d for the same tokens",
			len(x), len(pre), a.d, a.ffn)
	}
	if i := notFinite(x); i >= 0 {
		return fmt.Errorf("lowrank: add data: token %d, input %d: got %v, want a finite number", a.Tokens()+i/a.d, i%a.d, x[i])
	}
	if i := notFinite(pre); i >= 0 {
		return fmt.Errorf("lowrank: add data: token %d, pre-activation of neuron %d: got %v, want a finite number",
			a.Tokens()+i/a.ffn, i%a.ffn, pre[i])
	}
	a.x = append(a.x, x...)
	for ; len(pre) > 0; pre = pre[a.ffn:] {
		for i, v := range pre[:a.ffn] {
			if v > 0 {
				a.ids = append(a.ids, int32(i))
				a.values = append(a.values, v)
			}
		}
		a.ends = append(a.ends, len(a.ids))
	}
	return nil
}

// Tokens is the number of tokens added.
func (a *Data) Tokens() int { return len(a.ends) }

// Active is the mean share of neurons that are active, 0 without tokens.
func (a *Data) Active() float64 {
	if a.Tokens() == 0 {
		return 0
	}
	return float64(len(a.ids)) / (float64(a.Tokens()) * float64(a.ffn))
}

// row is the input [d] of token t.
func (a *Data) row(t int) []float32 { return a.x[t*a.d:][:a.d] }

// active is token t's active neurons and their pre-activations.
func (a *Data) active(t int) (ids []int32, values []float32) {
	from := 0
	if t > 0 {
		from = a.ends[t-1]
	}
	return a.ids[from:a.ends[t]], a.values[from:a.ends[t]]
}

// meanValue is the mean pre-activation of active neurons.
func (a *Data) meanValue() float64 {
	sum := 0.0
	for _, v := range a.values {
		sum += float64(v)
	}
	return sum / float64(len(a.values))
}

// check says whether a layer of ffn neurons and inputs of length d can be
// trained or measured with a, which is called name in the error.
func (a *Data) check(action, name string, d, ffn int) error {
	switch {
	case a == nil:
		return fmt.Errorf("lowrank: %s: %s data: got none, want some", action, name)
	case a.d != d || a.ffn != ffn:
		return fmt.Errorf("lowrank: %s: %s data: got d %d, ffn %d, want %d, %d", action, name, a.d, a.ffn, d, ffn)
	case a.Tokens() < MinTokens:
		return fmt.Errorf("lowrank: %s: %s data: got %d tokens, want at least %d: give more text", action, name, a.Tokens(), MinTokens)
	case len(a.ids) == 0:
		return fmt.Errorf("lowrank: %s: %s data: %w in %d tokens, want some to learn from", action, name, ErrSilent, a.Tokens())
	}
	return nil
}

// notFinite is the index of the first infinity or NaN in v, or -1.
func notFinite(v []float32) int {
	for i, f := range v {
		if f-f != 0 {
			return i
		}
	}
	return -1
}
