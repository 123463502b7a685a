package sparseflow

import "github.com/sparseflow/sparseflow/internal/engine"

// WithInternals lets this module's own tools set what the other options do not
// name: f changes the options that the engine within is opened with.
func WithInternals(f func(*engine.Options)) Option {
	return func(o *options) { f(&o.engine) }
}

// Internals is the engine within, for this module's own tools. It is closed
// together with e.
func (e *Engine) Internals() *engine.Engine { return e.e }
