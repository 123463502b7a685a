package cpu_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Every vector of the neurons is where it belongs afterwards, whatever the order
// that they were in, the bytes between them and the threads; other slots are as
// they were.
func TestSplitParts(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		be := cpu.New(kernel.Best(), threads)
		defer be.Close()
		for _, parts := range []int{1, 2, 3} {
			for _, cols := range []int{1, 8, 100, 1536} { // with bytes between bundles, and without; the last in a piece for each thread
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
						got := be.SplitParts(s, first, at)
						if want := max(1, cols/1536*threads); got.ColBlocks != want {
							t.Errorf("got %d pieces, want %d", got.ColBlocks, want)
						}
						if want := n%4 == 0; got.Interleaved != want {
							t.Errorf("got dealt %v, want %v", got.Interleaved, want)
						}
						for id := range n {
							for part := range parts - 1 {
								if !bytes.Equal(got.Vec(int32(first+id), part), before.Vec(first+at[id], part)) {
									t.Fatalf("neuron %d, part %d: not its vector", id, part)
								}
							}
							want := before.Vec(first+at[id], parts-1)
							for b0 := 0; b0 < len(want); {
								piece := got.Columns(int64(b0), int64(b0+2*got.BlockCols()))
								if v := piece.Of(int32(first + id)); !bytes.Equal(v, want[b0:b0+len(v)]) {
									t.Fatalf("neuron %d, the last part from byte %d on: not its vector", id, b0)
								}
								b0 += 2 * got.BlockCols()
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

// What is computed of neurons, all or some, does not depend on whether they were
// moved, and all of their bytes are read.
func TestSplitMLP(t *testing.T) {
	const n, cols = 148, 1536 // dealt; threads take whole words of pieces
	for _, threads := range []int{1, 2, 3} {
		be := cpu.New(kernel.Best(), threads)
		defer be.Close()
		for _, dt := range dtypes {
			for i, tokens := range []int{1, 2, 9, 1, 9} {
				parts := 2 + i/3
				for _, masked := range []bool{false, true} {
					m := newMLP(tokens, cols, parts, n, n, dt, masked)
					before := m.slots
					before.Data = slices.Clone(m.slots.Data)
					slots := make([]int32, n)
					for id, slot := range newRandom(uint64(tokens)).Perm(n) {
						slots[id] = int32(slot)
					}
					after := be.SplitParts(m.slots, 0, slots)
					for _, share := range []int{1, 3} {
						t.Run(fmt.Sprintf("%d threads, %v, %d parts, %d tokens, masked=%v, 1 of %d", threads, dt, parts, tokens, masked, share), func(t *testing.T) {
							a, b := m.work, m.work
							a.IDs, a.Slots, b.Slots, a.Wants = nil, nil, nil, nil
							for id := range n {
								if id%share == 0 || id > n/2 && id < n/2+5 {
									a.IDs, a.Slots, b.Slots = append(a.IDs, int32(id)), append(a.Slots, slots[id]), append(b.Slots, int32(id))
									if masked {
										a.Wants = append(a.Wants, m.work.Wants[id*a.WantWords:(id+1)*a.WantWords]...)
									}
								}
							}
							b.IDs, b.Wants = a.IDs, a.Wants
							var sel, late []int32 // a few do not come in their turn
							for i := range a.IDs {
								if i%31 == 5 {
									late = append(late, int32(i))
								} else {
									sel = append(sel, int32(i))
								}
							}
							sel = append(sel, late...)
							run := func(s device.Slots, w device.Work) (h []float32, y device.Act) {
								h, y = make([]float32, len(w.IDs)*tokens), device.NewAct(tokens, cols)
								be.Up(h, m.x, s, w, sel)
								be.Down(y, h, s, w)
								return h, y
							}
							h0, y0 := run(before, a)
							h1, y1 := run(after, b)
							sameBits(t, "activations", vec(h1), vec(h0))
							sameBits(t, "output", y1, y0)
							for part := range parts - 1 {
								if got, want := be.LoadUp(after, b.Slots, part), be.LoadUp(before, a.Slots, part); got != want {
									t.Errorf("loads of part %d: got sum %x, want %x", part, got, want)
								}
							}
							if got, want := be.LoadDown(after, b.Slots), be.LoadDown(before, a.Slots); got != want {
								t.Errorf("loads of last parts: got sum %x, want %x", got, want)
							}
						})
					}
				}
			}
		}
	}
}
