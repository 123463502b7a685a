package sparseflow

import "github.com/sparseflow/sparseflow/internal/engine"

// Choice is what Auto stands for in each layer. It follows from the model and
// its sidecar alone.
type Choice struct {
	Modes string // a letter for each layer: p, g or d
	// Deprecated: prompts are computed as decoding is, and nothing is measured.
	// These are always empty.
	Prompts                string
	Measured               int     // always 0; see Prompts
	Predicted, Gate, Dense float64 // always 0; see Prompts
}

// Summary says how many layers are in which mode: "5 predicted, 1 gate".
func (c Choice) Summary() string { return engine.Choice(c).Summary() }

// String is Summary.
func (c Choice) String() string { return c.Summary() }

// Exact reports whether no layer is predicted.
func (c Choice) Exact() bool { return engine.Choice(c).Exact() }

// Choice is what Auto stands for, nil in the other modes.
func (e *Engine) Choice() *Choice { return (*Choice)(e.e.Choice()) }
