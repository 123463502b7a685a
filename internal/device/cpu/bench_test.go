package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// eachThreads runs f over the fastest kernels with 1 and 2 threads.
func eachThreads(b *testing.B, f func(b *testing.B, be device.Backend)) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			be := cpu.New(kernel.Best(), threads)
			defer be.Close()
			f(b, be)
		})
	}
}

// gbs reports the bytes read per second.
func gbs(b *testing.B, bytesPerOp int64) {
	b.ReportMetric(float64(bytesPerOp)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}

// weights is n bytes of small float16 numbers, more than caches hold where n
// is large.
func weights(n int64) []byte {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(i*7) & 0x2f
	}
	return raw
}

// benchTypes are the types that a model is likely to be run in.
var benchTypes = []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0}

// One token through matrices as wide as OPT-6.7B's attention, as many rows as
// leave the caches.
func BenchmarkLinearDecode(b *testing.B) {
	const d, rows = 4096, 16384
	for _, dt := range benchTypes {
		w := device.Mat{Data: weights(rows * dt.RowBytes(d)), DType: dt, Rows: rows, Cols: d}
		x, y := device.NewAct(1, d), device.NewAct(1, rows)
		b.Run(dt.String(), func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be device.Backend) {
				for b.Loop() {
					be.Linear(y, x, w, nil)
				}
				gbs(b, int64(len(w.Data)))
			})
		})
	}
}

// One token's sparse MLP of OPT-6.7B: 3.3 % of the neurons, strewn.
func BenchmarkMLPDecode(b *testing.B) {
	const d, ffn, active = 4096, 16384, 540
	r := rand.New(rand.NewPCG(1, 1))
	w := device.Work{Act: config.ReLU, SkipZero: true}
	sel := make([]int32, active)
	for i, slot := range r.Perm(ffn)[:active] {
		w.IDs, w.Slots = append(w.IDs, int32(i)), append(w.Slots, int32(slot))
		sel[i] = int32(i)
	}
	x, y, h := device.NewAct(1, d), device.NewAct(1, d), make([]float32, active)
	for i := range x.Data {
		x.Data[i] = 1
	}
	for _, dt := range benchTypes {
		row := dt.RowBytes(d)
		s := device.Slots{Data: weights(ffn * 2 * row), Stride: 2 * row, DType: dt, Cols: d, Parts: 2}
		b.Run(dt.String()+"/up", func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be device.Backend) {
				for b.Loop() {
					be.Up(h, x, s, w, sel)
				}
				gbs(b, active*row)
			})
		})
		for i := range h {
			h[i] = 1e-3
		}
		b.Run(dt.String()+"/down", func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be device.Backend) {
				for b.Loop() {
					be.Down(y, h, s, w)
				}
				gbs(b, active*row)
			})
		})
	}
}

// One token's attention to 2,048 others in OPT-6.7B.
func BenchmarkAttendDecode(b *testing.B) {
	const context = 2048
	p := device.AttendParams{Heads: 32, KVHeads: 32, HeadDim: 128, Scale: 0.088}
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16} {
		shape := kv.Shape{Layers: 1, Heads: p.KVHeads, HeadDim: p.HeadDim, DType: dt}
		mem := weights(shape.PageBytes() * int64(kv.Pages(context)))
		cache, seq := kv.New(shape, mem), &kv.Seq{}
		if err := cache.Grow(seq, context); err != nil {
			b.Fatal(err)
		}
		q, y := device.NewAct(1, p.Heads*p.HeadDim), device.NewAct(1, p.Heads*p.HeadDim)
		for i := range q.Data {
			q.Data[i] = float32(i%7) - 3
		}
		spans := []device.Span{{Seq: seq, Pos: context - 1, N: 1}}
		b.Run(dt.String(), func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be device.Backend) {
				for b.Loop() {
					be.Attend(y, q, cache, 0, spans, p)
				}
				gbs(b, int64(len(mem)))
			})
		})
	}
}

// A prompt's chunk through a matrix of OPT-125M, where arithmetic is the limit.
func BenchmarkLinearPrefill(b *testing.B) {
	const d, tokens = 768, 64
	w := device.Mat{Data: weights(2 * d * d), DType: tensor.F16, Rows: d, Cols: d}
	x, y := device.NewAct(tokens, d), device.NewAct(tokens, d)
	eachThreads(b, func(b *testing.B, be device.Backend) {
		for b.Loop() {
			be.Linear(y, x, w, nil)
		}
		b.ReportMetric(2*tokens*d*d*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}
