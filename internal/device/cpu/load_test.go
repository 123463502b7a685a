package cpu_test

import (
	"fmt"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Every byte is loaded once, whatever the split.
func TestLoads(t *testing.T) {
	k := kernel.Go()
	for _, threads := range []int{1, 3} {
		be := cpu.New(kernel.Best(), threads)
		defer be.Close()
		for _, cols := range []int{8, 64, 200, 1024} {
			for _, neurons := range []int{0, 1, 7, 300} {
				t.Run(fmt.Sprintf("%d threads, %d columns, %d neurons", threads, cols, neurons), func(t *testing.T) {
					m := newMLP(1, cols, 2, neurons, 1000, tensor.F16, false)
					var up, down uint64
					for _, s := range m.work.Slots {
						up += k.Load(m.slots.Vec(s, 0), nil)
						down += k.Load(m.slots.Vec(s, 1), nil)
					}
					if got := be.LoadUp(m.slots, m.work.Slots, 0); got != up {
						t.Errorf("first halves: got sum %x, want %x", got, up)
					}
					if got := be.LoadDown(m.slots, m.work.Slots); got != down {
						t.Errorf("last parts: got sum %x, want %x", got, down)
					}
					if got, want := be.LoadRows(m.slots.Data, int(m.slots.Stride)), k.Load(m.slots.Data, nil); got != want {
						t.Errorf("rows: got sum %x, want %x", got, want)
					}
				})
			}
		}
	}
}
