package cpu_test

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
)

// One token's whole MLP of OPT-6.7B, as Separate leaves a layer, beside loads of
// the same bytes: in order, as Linear reads them, and as Up and Down do.
func BenchmarkMLPComplete(b *testing.B) {
	const d, n = 4096, 16384
	for _, dt := range benchTypes {
		b.Run(dt.String(), func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				row := dt.RowBytes(d)
				s := device.Slots{Data: filled(b, n*2*row), Stride: 2 * row, DType: dt, Cols: d, Parts: 2}
				w := device.Work{Act: config.ReLU}
				for i := range int32(n) {
					w.IDs = append(w.IDs, i)
				}
				w.Slots = w.IDs
				s = be.Separate(s, 0, w.Slots)
				half := s.Data[:len(s.Data)/2]
				x, y, h := device.NewAct(1, d), device.NewAct(1, d), make([]float32, n)
				for i := range x.Data {
					x.Data[i] = 1
				}
				for _, op := range []struct {
					name string
					run  func()
				}{
					{"load", func() { be.Load(slices.Collect(slices.Chunk(half, 64<<10))) }},
					{"load rows", func() { be.LoadRows(half, int(row)) }},
					{"load up", func() { be.LoadUp(s, w.Slots) }},
					{"up", func() { be.Up(h, x, s, w, w.IDs) }},
					{"load down", func() { be.LoadDown(s, w.Slots) }},
					{"down", func() { be.Down(y, h, s, w) }},
				} {
					b.Run(op.name, func(b *testing.B) {
						for i := range h {
							h[i] = 1e-3
						}
						for b.Loop() {
							op.run()
						}
						gbs(b, int64(len(half)))
					})
				}
			})
		})
	}
}
