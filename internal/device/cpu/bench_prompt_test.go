package cpu_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
)

// BenchmarkPrompt is the operations of a prompt of 512 tokens at OPT-6.7B's
// width: a part of a projection, the second of a predictor's factors, and a
// segment of the MLP of which each token wants 7 % of its own. It reports the
// best run, which the machine's other work has met least.
func BenchmarkPrompt(b *testing.B) {
	const tokens, d, rows, rank, ffn, neurons = 512, 4096, 512, 128, 16384, 512
	r := rand.New(rand.NewPCG(1, 5))
	x, y, z := device.NewAct(tokens, d), device.NewAct(tokens, d), device.NewAct(tokens, ffn)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	// SameInput, since 32 segments of a layer have the same.
	w := device.Work{Act: config.ReLU, SkipZero: true, SameInput: true, WantWords: tokens / 64, Wants: make([]uint64, neurons*tokens/64)}
	var sel []int32
	for i := range neurons {
		sel = append(sel, int32(i))
		w.IDs, w.Slots = append(w.IDs, int32(i)), append(w.Slots, int32(i))
	}
	wanted := 0
	h := make([]float32, neurons*tokens)
	for i := range h {
		if r.IntN(100) < 7 {
			w.Wants[i/64] |= 1 << (i % 64)
			h[i] = 1
			wanted++
		}
	}
	for _, dt := range benchTypes {
		mat := device.Mat{Data: filled(b, rows*dt.RowBytes(d)), DType: dt, Rows: rows, Cols: d}
		factor := device.Mat{Data: filled(b, ffn*dt.RowBytes(rank)), DType: dt, Rows: ffn, Cols: rank}
		s := device.Slots{Data: filled(b, neurons*2*dt.RowBytes(d)), Stride: 2 * dt.RowBytes(d), DType: dt, Cols: d, Parts: 2}
		up := make([]float32, len(h))
		for _, op := range []struct {
			name     string
			products int
			run      func(be *cpu.Backend)
		}{
			{"projection", tokens * rows * d, func(be *cpu.Backend) { be.Linear(y.Colspan(0, rows), x, mat, nil) }},
			{"factor", tokens * ffn * rank, func(be *cpu.Backend) { be.Linear(z, x.Colspan(0, rank), factor, nil) }},
			{"up", wanted * d, func(be *cpu.Backend) { be.Up(up, x, s, w, sel) }},
			{"down", wanted * d, func(be *cpu.Backend) { be.Down(y, h, s, w) }},
		} {
			b.Run(dt.String()+"/"+op.name, func(b *testing.B) {
				eachThreads(b, func(b *testing.B, be *cpu.Backend) {
					best := time.Duration(math.MaxInt64)
					for b.Loop() {
						begin := time.Now()
						op.run(be)
						best = min(best, time.Since(begin))
					}
					b.ReportMetric(2*float64(op.products)/best.Seconds()/1e9, "best-GFLOP/s")
				})
			})
		}
	}
}
