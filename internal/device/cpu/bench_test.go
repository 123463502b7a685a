package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// eachThreads runs f over the fastest kernels with 1 and 2 threads.
func eachThreads(b *testing.B, f func(b *testing.B, be *cpu.Backend)) {
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

// filled is n bytes of small float16 numbers, in the memory that an engine's
// weights and caches lie in.
func filled(b *testing.B, n int64) []byte {
	m, err := memory.New(n)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	})
	raw := m.Piece(n)
	for i := range raw {
		raw[i] = byte(i*7) & 0x2f
	}
	return raw
}

// benchTypes are the types that a model is likely to be run in.
var benchTypes = []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0}

// benchBytes are more than any processor's caches hold.
const benchBytes = 1 << 30

// matBenchTypes are those that matrices of a GGUF file are likely to have.
var matBenchTypes = append(slices.Clip(benchTypes), tensor.Q4_K, tensor.Q6_K, tensor.IQ4_XS)

// One token through matrices as wide as OPT-6.7B's attention, a GiB of them in
// turn, which no cache holds, and in turn with a loop that only loads others.
func BenchmarkLinearDecode(b *testing.B) {
	for _, d := range []int{4096, 128} { // a projection, and the second factor of a predictor
		const rows = 16384
		for _, dt := range matBenchTypes {
			if dt.OfRow(d) != dt {
				continue
			}
			bytes := rows * dt.RowBytes(d)
			ws := make([]device.Mat, benchBytes/bytes)
			for i := range ws {
				ws[i] = device.Mat{Data: filled(b, bytes), DType: dt, Rows: rows, Cols: d}
			}
			x, y := device.NewAct(1, d), device.NewAct(1, rows)
			b.Run(fmt.Sprintf("d=%d/%v", d, dt), func(b *testing.B) {
				eachThreads(b, func(b *testing.B, be *cpu.Backend) {
					i := 0
					mat := func() device.Mat { i++; return ws[i%len(ws)] }
					besideLoad(b, int(bytes), func() { be.Load(slices.Collect(slices.Chunk(mat().Data, 64<<10))) }, func() { be.Linear(y, x, mat(), nil) })
				})
			})
		}
	}
}

// One token's sparse MLP of OPT-6.7B, 3.3 % of the neurons, strewn over the
// slots of many layers, so that no cache holds them: in turn with a loop
// that only loads the same rows, and with one that loads as many bytes in order
// (limit-GB/s, share-of-limit).
func BenchmarkMLPDecode(b *testing.B) {
	for _, dt := range benchTypes {
		b.Run(dt.String(), func(b *testing.B) { benchmarkMLPDecode(b, dt) })
	}
}

func benchmarkMLPDecode(b *testing.B, dt tensor.DType) {
	const d, active, slots = 4096, 540, 1024
	rowBytes := dt.RowBytes(d)
	layers := benchBytes / (slots * 2 * int(rowBytes))
	s := device.Slots{Data: filled(b, int64(layers)*slots*2*rowBytes), Stride: 2 * rowBytes, DType: dt, Cols: d, Parts: 2}
	r := rand.New(rand.NewPCG(1, 1))
	works := make([]device.Work, layers)
	rows := [2][][][]byte{make([][][]byte, layers), make([][][]byte, layers)}
	var sel []int32
	for l := range works {
		w := device.Work{Act: config.ReLU, SkipZero: true}
		for i, slot := range r.Perm(slots)[:active] {
			slot += l * slots
			w.IDs, w.Slots = append(w.IDs, int32(i)), append(w.Slots, int32(slot))
			for part := range rows {
				rows[part][l] = append(rows[part][l], s.Vec(int32(slot), part))
			}
		}
		works[l] = w
	}
	for i := range active {
		sel = append(sel, int32(i))
	}
	x, y, h := device.NewAct(1, d), device.NewAct(1, d), make([]float32, active)
	for i := range x.Data {
		x.Data[i] = 1
	}
	for part, name := range []string{"up", "down"} {
		b.Run(name, func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				for _, pattern := range []string{"same rows", "in order"} {
					b.Run(pattern, func(b *testing.B) {
						l := 0
						besideLoad(b, int(active*rowBytes), func() {
							l = (l + 1) % layers
							if other := (l + layers/2) % layers; pattern == "in order" {
								be.Load(slices.Collect(slices.Chunk(s.Data[other*len(s.Data)/layers:][:active*rowBytes], int(rowBytes))))
							} else {
								be.Load(rows[part][other])
							}
						}, func() {
							if part == 0 {
								be.Up(h, x, s, works[l], sel)
								return
							}
							for i := range h {
								h[i] = 1e-3
							}
							be.Down(y, h, s, works[l])
						})
					})
				}
			})
		})
	}
}

// One token's attention to 2,048 others in OPT-6.7B, in each of several layers
// that no cache holds, in turn with a loop that only loads the same pages on
// the same threads. share-of-limit is the median of their ratios.
func BenchmarkAttendDecode(b *testing.B) {
	const context, layers = 2048, 8
	p := device.AttendParams{Heads: 32, KVHeads: 32, HeadDim: 128, Scale: 0.088}
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		shape := kv.Shape{Layers: layers, Heads: p.KVHeads, HeadDim: p.HeadDim, DType: dt}
		mem := filled(b, shape.PageBytes()*int64(shape.Pages(context, context)))
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
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
					be := cpu.New(kernel.Best(), threads)
					defer be.Close()
					layer, layerBytes := 0, len(mem)/layers
					var pieces [layers][][]byte // of 64 KiB
					for l := range pieces {
						pieces[l] = slices.Collect(slices.Chunk(mem[l*layerBytes:][:layerBytes], 64<<10))
					}
					besideLoad(b, layerBytes, func() {
						be.Load(pieces[layer])
					}, func() {
						layer = (layer + 1) % layers
						be.Attend(y, q, cache, layer, spans, p)
					})
				})
			}
		})
	}
}

// A prompt's last 64 tokens of 2,048 in OPT-6.7B, where arithmetic is the limit.
func BenchmarkAttendPrefill(b *testing.B) {
	const context, chunk = 2048, 64
	p := device.AttendParams{Heads: 32, KVHeads: 32, HeadDim: 128, Scale: 0.088}
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		shape := kv.Shape{Layers: 1, Heads: p.KVHeads, HeadDim: p.HeadDim, DType: dt}
		cache, seq := kv.New(shape, filled(b, shape.PageBytes()*int64(shape.Pages(context, context)))), &kv.Seq{}
		if err := cache.Grow(seq, context); err != nil {
			b.Fatal(err)
		}
		q, y := device.NewAct(chunk, p.Heads*p.HeadDim), device.NewAct(chunk, p.Heads*p.HeadDim)
		for i := range q.Data {
			q.Data[i] = float32(i%7) - 3
		}
		spans := []device.Span{{Seq: seq, Pos: context - chunk, N: chunk}}
		b.Run(dt.String(), func(b *testing.B) {
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				for b.Loop() {
					be.Attend(y, q, cache, 0, spans, p)
				}
				flops := 4 * chunk * (context - chunk/2) * p.Heads * p.HeadDim
				b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}

// besideLoad times op, which reads n bytes, in turn with load, which only
// loads as many, and reports medians.
func besideLoad(b *testing.B, n int, load, op func()) {
	var limits, rates, shares []float64
	for b.Loop() {
		start := time.Now()
		load()
		mid := time.Now()
		op()
		limit := float64(n) / mid.Sub(start).Seconds() / 1e9
		rate := float64(n) / time.Since(mid).Seconds() / 1e9
		limits, rates, shares = append(limits, limit), append(rates, rate), append(shares, rate/limit)
	}
	for unit, v := range map[string][]float64{"GB/s": rates, "limit-GB/s": limits, "share-of-limit": shares} {
		slices.Sort(v)
		b.ReportMetric(v[len(v)/2], unit)
	}
}

// The norm of one token of OPT-6.7B, on the caller's thread alone.
func BenchmarkNorm(b *testing.B) {
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	x, y, w := device.NewAct(1, 4096), device.NewAct(1, 4096), make([]float32, 4096)
	for i := range x.Data {
		x.Data[i] = float32(i % 97)
	}
	for b.Loop() {
		be.Norm(y, x, device.NormParams{Kind: config.LayerNorm, Eps: 1e-5, Weight: w, Bias: w})
	}
}

// A prompt's chunk through a matrix of OPT-125M and one of OPT-6.7B, where
// arithmetic is the limit.
func BenchmarkLinearPrefill(b *testing.B) {
	for _, s := range []struct{ d, tokens int }{{768, 64}, {4096, 512}} {
		for _, dt := range matBenchTypes {
			b.Run(fmt.Sprintf("d=%d,tokens=%d/%v", s.d, s.tokens, dt), func(b *testing.B) {
				w := device.Mat{Data: filled(b, int64(s.d)*dt.RowBytes(s.d)), DType: dt, Rows: s.d, Cols: s.d}
				x, y := device.NewAct(s.tokens, s.d), device.NewAct(s.tokens, s.d)
				eachThreads(b, func(b *testing.B, be *cpu.Backend) {
					best := time.Duration(math.MaxInt64) // which others' work has met least
					for b.Loop() {
						begin := time.Now()
						be.Linear(y, x, w, nil)
						best = min(best, time.Since(begin))
					}
					b.ReportMetric(2*float64(s.tokens*s.d*s.d)/best.Seconds()/1e9, "GFLOP/s")
				})
			})
		}
	}
}

// A prompt's chunk through a part of OPT-6.7B's MLP, of which each token wants
// some of the neurons. The rate counts what is wanted.
func BenchmarkMLPPrefill(b *testing.B) {
	const d, neurons, tokens = 4096, 1024, 512
	s := device.Slots{Data: filled(b, neurons*4*d), Stride: 4 * d, DType: tensor.F16, Cols: d, Parts: 2}
	x, y, h := device.NewAct(tokens, d), device.NewAct(tokens, d), make([]float32, neurons*tokens)
	for i := range x.Data {
		x.Data[i] = float32(i%7) - 3
	}
	for _, share := range []float64{0.05, 0.1, 1} {
		r := rand.New(rand.NewPCG(1, 1))
		w := device.Work{Act: config.ReLU, SkipZero: share < 1}
		if share < 1 {
			w.WantWords = tokens / 64
			w.Wants = make([]uint64, neurons*w.WantWords)
		}
		wanted := 0
		clear(h)
		for i := range neurons {
			w.IDs, w.Slots = append(w.IDs, int32(i)), append(w.Slots, int32(i))
			for t := range tokens {
				if r.Float64() < share {
					wanted++
					h[i*tokens+t] = 1e-3
					if share < 1 {
						w.Wants[i*w.WantWords+t/64] |= 1 << (t % 64)
					}
				}
			}
		}
		fixed := append([]float32(nil), h...)
		for name, op := range map[string]func(be device.Backend){
			"up":   func(be device.Backend) { be.Up(h, x, s, w, w.IDs) },
			"down": func(be device.Backend) { be.Down(y, fixed, s, w) },
		} {
			b.Run(fmt.Sprintf("%s/share=%v", name, share), func(b *testing.B) {
				eachThreads(b, func(b *testing.B, be *cpu.Backend) {
					for b.Loop() {
						op(be)
					}
					b.ReportMetric(2*d*float64(wanted)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			})
		}
	}
}
