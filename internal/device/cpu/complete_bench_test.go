package cpu_test

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
)

// One token's whole MLP of OPT-6.7B, as SplitParts leaves a layer, beside loads of
// the same bytes: in order, as Linear reads them, and as Up and Down do. A GiB of
// layers in turn, which no cache holds.
func BenchmarkMLPComplete(b *testing.B) {
	const d, n = 4096, 16384
	for _, dt := range benchTypes {
		b.Run(dt.String(), func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				row := dt.RowBytes(d)
				w := device.Work{Act: config.ReLU}
				for i := range int32(n) {
					w.IDs = append(w.IDs, i)
				}
				w.Slots = w.IDs
				layers := make([]device.Slots, benchBytes/(n*2*row))
				for i := range layers {
					s := device.Slots{Data: filled(b, n*2*row), Stride: 2 * row, DType: dt, Cols: d, Parts: 2}
					layers[i] = be.SplitParts(s, 0, w.Slots)
				}
				first := func(s device.Slots) []byte { return s.Data[:len(s.Data)/2] }
				x, y, h := device.NewAct(1, d), device.NewAct(1, d), make([]float32, n)
				for i := range x.Data {
					x.Data[i] = 1
				}
				for _, op := range []struct {
					name string
					run  func(s device.Slots)
				}{
					{"load", func(s device.Slots) { be.Load(slices.Collect(slices.Chunk(first(s), 64<<10))) }},
					{"load rows", func(s device.Slots) { be.LoadRows(first(s), int(row)) }},
					{"load up", func(s device.Slots) { be.LoadUp(s, w.Slots, 0) }},
					{"up", func(s device.Slots) { be.Up(h, x, s, w, w.IDs) }},
					{"load down", func(s device.Slots) { be.LoadDown(s, w.Slots) }},
					{"down", func(s device.Slots) { be.Down(y, h, s, w) }},
				} {
					b.Run(op.name, func(b *testing.B) {
						for i := range h {
							h[i] = 1e-3
						}
						for i := 0; b.Loop(); i++ {
							op.run(layers[i%len(layers)])
						}
						gbs(b, n*row)
					})
				}
			})
		})
	}
}
