package device

import (
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// ExpertPart is the shape of one part, gate, up or down, of all experts of a layer.
type ExpertPart struct {
	DType      tensor.DType
	Rows, Cols int
}

// ExpertWork is some experts of one layer, and which tokens they are computed for.
type ExpertWork struct {
	IDs   []int32     // expert ids, ascending
	Data  [][3][]byte // [len(IDs)] gate, up and down of each, once it is in memory
	Parts [3]ExpertPart
	// Tokens[First[i]:First[i+1]] are the tokens, rows of x, that expert i is computed
	// for. Each is a pair, which has a row of the output: the number of its place in
	// Tokens.
	Tokens []int32
	First  []int32      // [len(IDs)+1]
	Bias   [3][]float32 // [experts of the layer, Rows] of each part, nil without biases
	Act    config.Activation
	// SameInput says that the x of Experts is what it was at the latest Experts, so that
	// what was made of it then, if anything, still serves.
	SameInput bool
}

// Pairs is how many pairs of token and expert there are.
func (w *ExpertWork) Pairs() int { return len(w.Tokens) }
