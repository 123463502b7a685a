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
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// expertShapes are layers of Qwen3-30B-A3B, as Q4_K_M files have them, and of
// gpt-oss-20b.
var expertShapes = []struct {
	name       string
	d, width   int
	experts, k int
	dt, down   tensor.DType
}{
	{"qwen3", 2048, 768, 128, 8, tensor.Q4_K, tensor.Q4_K},
	{"qwen3", 2048, 768, 128, 8, tensor.Q4_K, tensor.Q6_K},
	{"gpt-oss", 2880, 2880, 32, 4, tensor.MXFP4, tensor.MXFP4},
}

// expertPool is n experts in memory that no cache holds, a GiB of them if n is 0.
func expertPool(b *testing.B, n, d, width int, dt, down tensor.DType) (parts [3]device.ExpertPart, data [][3][]byte) {
	parts = [3]device.ExpertPart{{DType: dt, Rows: width, Cols: d}, {DType: dt, Rows: width, Cols: d}, {DType: down, Rows: d, Cols: width}}
	var bytes [3]int64
	for i, p := range parts {
		bytes[i] = int64(p.Rows) * p.DType.RowBytes(p.Cols)
	}
	each := bytes[0] + bytes[1] + bytes[2]
	if n == 0 {
		n = int(benchBytes / each)
	}
	r := newRandom(1)
	var one []byte
	for _, p := range parts {
		one = append(one, slices.Repeat(r.weights(p.Cols, p.DType), p.Rows)...)
	}
	mem := filled(b, int64(n)*each)
	for len(mem) > 0 {
		copy(mem, one)
		data = append(data, [3][]byte{mem[:bytes[0]], mem[bytes[0]:][:bytes[1]], mem[bytes[0]+bytes[1] : each]})
		mem = mem[each:]
	}
	return parts, data
}

// One token's experts of a layer, of memory that no cache holds, in turn with a loop
// that only loads as many bytes.
func BenchmarkExpertsDecode(b *testing.B) {
	for _, s := range expertShapes {
		b.Run(fmt.Sprintf("%s/%v-%v", s.name, s.dt, s.down), func(b *testing.B) {
			parts, data := expertPool(b, 0, s.d, s.width, s.dt, s.down)
			w := &device.ExpertWork{Parts: parts, Act: config.SiLU, First: []int32{0}}
			rows, weights := make([]int32, s.k), make([]float32, s.k)
			for i := range s.k {
				w.IDs, w.Tokens, w.First = append(w.IDs, int32(i)), append(w.Tokens, 0), append(w.First, int32(i+1))
				rows[i] = int32(i)
			}
			w.Data = make([][3][]byte, s.k)
			r, sel := newRandom(2), all(w)
			x, y, sum := r.act(1, s.d), device.NewAct(s.k, s.d), device.NewAct(1, s.d)
			n := 0
			for _, part := range data[0] {
				n += s.k * len(part)
			}
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				loads := make([][]byte, 0, n>>16+3*s.k)
				besideLoad(b, n, func() {
					loads = loads[:0]
					for range s.k {
						for _, part := range data[r.IntN(len(data))] {
							loads = slices.AppendSeq(loads, slices.Chunk(part, 64<<10))
						}
					}
					be.Load(loads)
				}, func() {
					for i := range w.Data {
						w.Data[i] = data[r.IntN(len(data))]
					}
					be.Experts(y, x, w, sel)
					be.Combine(sum, y, rows, weights, s.k)
				})
			})
		})
	}
}

// A chunk of a prompt through a layer's experts, some of which have many times the
// tokens of others, in turn with a matrix of as many products as tokens that all want
// the same: share is what of that rate is left.
func BenchmarkExpertsPrompt(b *testing.B) {
	const tokens = 512
	for _, s := range expertShapes {
		b.Run(fmt.Sprintf("%s/%v-%v", s.name, s.dt, s.down), func(b *testing.B) {
			parts, data := expertPool(b, s.experts, s.d, s.width, s.dt, s.down)
			w := drawPairs(tokens, s.k, s.experts)
			w.Parts, w.Act = parts, config.SiLU
			for _, id := range w.IDs {
				w.Data = append(w.Data, data[id])
			}
			x, y, wide := newRandom(2).act(tokens, s.d), device.NewAct(w.Pairs(), s.d), device.NewAct(tokens, s.width)
			sel, products := all(w), 3*w.Pairs()*s.d*s.width
			eachThreads(b, func(b *testing.B, be *cpu.Backend) {
				best, limit := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
				for b.Loop() {
					begin := time.Now()
					be.Experts(y, x, w, sel)
					best = min(best, time.Since(begin))
					begin = time.Now()
					be.Linear(wide, x, device.Mat{Data: data[0][0], DType: s.dt, Rows: s.width, Cols: s.d}, nil)
					limit = min(limit, time.Since(begin))
				}
				rate := 2 * float64(products) / best.Seconds() / 1e9
				all := 2 * float64(tokens*s.d*s.width) / limit.Seconds() / 1e9
				b.ReportMetric(rate, "GFLOP/s")
				b.ReportMetric(all, "matrix-GFLOP/s")
				b.ReportMetric(rate/all, "share")
			})
		})
	}
}

// drawPairs draws k experts for each token, the first ones most often.
func drawPairs(tokens, k, experts int) *device.ExpertWork {
	r := rand.New(rand.NewPCG(1, 2))
	lists := make([][]int32, experts)
	for t := range tokens {
		for n := 0; n < k; {
			id := int(float64(experts) * math.Pow(r.Float64(), 1.7))
			if !slices.Contains(lists[id], int32(t)) {
				lists[id] = append(lists[id], int32(t))
				n++
			}
		}
	}
	w := &device.ExpertWork{First: []int32{0}}
	for id, list := range lists {
		if len(list) > 0 {
			w.IDs, w.Tokens = append(w.IDs, int32(id)), append(w.Tokens, list...)
			w.First = append(w.First, int32(len(w.Tokens)))
		}
	}
	return w
}
