package sparseflow

import "github.com/sparseflow/sparseflow/internal/engine"

// Choice is what Auto stands for in each layer. It follows from the model and
// its sidecar alone.
type Choice = engine.Choice

// Choice is what Auto stands for, nil in the other modes.
func (e *Engine) Choice() *Choice { return e.e.Choice() }
