package bench

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

// want is the engine's Wanted.
func (c *child) want(layer int, ids []int32) {
	if c.tracer != nil {
		c.tracer.Want(layer, ids)
	}
}

// trace decodes the timed text once more and writes down which neurons it
// wants: writing takes time, so it is not done while that counts.
func (c *child) trace(ctx context.Context) error {
	c.progress("writing the trace")
	r, err := trace.Create(c.Trace, trace.InfoOf(c.e.Pack(), c.Model, c.TraceText))
	if err != nil {
		return err
	}
	c.tracer = r
	for rep := range c.Reps {
		if err := c.repeat(ctx, &series{test: Test{N: longest(c.Tests)}}, rep); err != nil {
			c.tracer = nil
			return err
		}
	}
	c.tracer = nil
	return r.Close()
}
