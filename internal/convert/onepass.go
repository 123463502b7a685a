package convert

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// tasksByLayer hands every task to emit, layer by layer instead of in the order
// of the file, and waits for all of a layer before it begins the next.
func (j *job) tasksByLayer(emit func(task) error) error {
	var running sync.WaitGroup
	counted := func(t task) error {
		running.Add(1)
		err := emit(func(ctx context.Context, b *buffers) error {
			defer running.Done()
			return t(ctx, b)
		})
		if err != nil {
			running.Done() // nobody has taken it
		}
		return err
	}
	outside := func(name string) bool { return !strings.HasPrefix(name, "layers.") }
	if err := j.residentTasks(outside, counted); err != nil {
		return err
	}
	for i, l := range j.layers {
		prefix := fmt.Sprintf("layers.%d.", i)
		within := func(name string) bool { return strings.HasPrefix(name, prefix) }
		if err := j.residentTasks(within, counted); err != nil {
			return err
		}
		for first := 0; first < j.ffn; first += l.unit {
			if err := counted(func(ctx context.Context, buf *buffers) error { return l.neurons(ctx, first, buf) }); err != nil {
				return err
			}
		}
		running.Wait()
	}
	return nil
}

// residentTasks hands the tasks of some resident matrices and vectors to emit.
func (j *job) residentTasks(which func(name string) bool, emit func(task) error) error {
	for _, t := range j.w.Tensors() {
		if t.Kind != pack.Matrix && t.Kind != pack.Vector || !which(t.Name) {
			continue
		}
		for b := range t.Blocks() {
			err := emit(func(ctx context.Context, buf *buffers) error { return j.block(ctx, t, b, buf) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}
