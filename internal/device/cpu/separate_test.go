package cpu_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Every vector of the neurons is where it belongs afterwards, whatever the order
// that they were in, the bytes between them and the threads; other slots are as
// they were.
func TestSeparate(t *testing.T) {
	for _, threads := range []int{1, 3} {
		be := cpu.New(kernel.Best(), threads)
		defer be.Close()
		for _, parts := range []int{1, 2, 3} {
			for _, cols := range []int{1, 8, 100, 2048} { // with bytes between bundles, and without
				for _, n := range []int{0, 1, 2, 7, 64, 1000} {
					t.Run(fmt.Sprintf("%d threads, %d parts of %d columns, %d neurons", threads, parts, cols, n), func(t *testing.T) {
						const first = 3
						s := newMLP(1, cols, parts, n+first+2, 2000, tensor.F16, false).slots
						at := make([]int32, n)
						for i, slot := range newRandom(uint64(n)).Perm(n) {
							at[i] = int32(slot)
						}
						before := s
						before.Data = slices.Clone(s.Data)
						got := be.Separate(s, first, at)
						for id := range n {
							for part := range parts {
								if !bytes.Equal(got.Vec(int32(first+id), part), before.Vec(first+at[id], part)) {
									t.Fatalf("neuron %d, part %d: not its vector", id, part)
								}
							}
						}
						for slot := range int32(len(s.Data) / int(s.Stride)) {
							if in := slot >= first && int(slot) < first+n; !in && !bytes.Equal(s.Bundle(slot), before.Bundle(slot)) {
								t.Errorf("slot %d has changed", slot)
							}
						}
					})
				}
			}
		}
	}
}
