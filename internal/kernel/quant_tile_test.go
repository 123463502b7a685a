package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// quantTiler is what a set does with many tokens and rows of one type.
type quantTiler struct {
	name       string
	blockBytes int
	zero       int32
	dot        func(w, x []byte, next *byte) float32
	widen      func(dst, w []byte, next *byte)
	tile       func(*[QuantRows * QuantTokens]float32, *[QuantRows][]byte, []byte, int)
	rows       func(*[QuantRows]float32, *[QuantRows][]byte, []byte)
}

func quantTilers(s Set) []quantTiler {
	return []quantTiler{
		{"q8_0", q8Bytes, ZeroQ8, s.DotQ8, s.WidenQ8, s.TileQ8, s.RowsQ8},
		{"q4_0", q4Bytes, ZeroQ4, s.DotQ4, s.WidenQ4, s.TileQ4, s.RowsQ4},
	}
}

// TestQuantTiles compares tiles and rows with plain dot products, bit for bit,
// of operands that end where memory does.
func TestQuantTiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 8))
	const most = 1664
	var arenas [2*QuantRows + 1]*arena
	for i := range arenas {
		arenas[i] = newArena(t, QuantTokens*QuantXBytes(most)+256)
	}
	for n := 0; n <= most; n += 128 {
		for _, special := range []int{0, 5} {
			in := randomQuant(rng, max(n, 128)*QuantRows, special)
			for _, s := range All() {
				for i, q := range quantTilers(s) {
					row := n / tensor.QuantBlock * q.blockBytes
					all, stride := [][]byte{in.q8, in.q4}[i], QuantXBytes(n)
					records := make([]byte, QuantTokens*stride)
					for j := range QuantTokens {
						Go().QuantizeX(records[j*stride:][:stride], in.x[j*n:][:n], q.zero)
					}
					x := place(arenas[2*QuantRows], records, 0, special == 0)
					var w, wide [QuantRows][]byte
					for r := range w {
						w[r] = place(arenas[r], all[r*row:][:row], 0, special == 0)
						wide[r] = guard(arenas[QuantRows+r], bytes.Repeat([]byte{0x7f}, WideBytes(n)), 0, special == 0)
						q.widen(wide[r], w[r], nil)
						checkGuard(t, s.Name+" Widen", arenas[QuantRows+r], wide[r])
					}
					var tile [QuantRows * QuantTokens]float32
					var rows [QuantRows]float32
					q.tile(&tile, &wide, x, stride)
					q.rows(&rows, &wide, x)
					for i, got := range append(tile[:], rows[:]...) {
						r, j := i/QuantTokens, i%QuantTokens
						if i >= len(tile) {
							r, j = i-len(tile), 0
						}
						want := quantTilers(Go())[slices.IndexFunc(quantTilers(Go()), func(g quantTiler) bool { return g.name == q.name })].dot(w[r], records[j*stride:], nil)
						if !slices.Equal(floatBits([]float32{got}), floatBits([]float32{want})) {
							t.Fatalf("%s %s, n=%d: output %d, of row %d and token %d, is %v, the dot product %v", s.Name, q.name, n, i, r, j, got, want)
						}
					}
				}
			}
		}
	}
}

// BenchmarkQuantTile is tiles over rows that stay in a core's cache while
// tokens pass by, rows of these with one token, and widening, as if it were products.
func BenchmarkQuantTile(b *testing.B) {
	const n, rows, tokens = 4096, 56, 32
	for _, s := range All()[1:] {
		for _, q := range quantTilers(s) {
			w, x := make([]byte, rows*n/32*q.blockBytes), make([]float32, n)
			for i := range w {
				w[i] = byte(i*37) & 0x3f
			}
			for i := range x {
				x[i] = float32(i%7) - 3
			}
			stride, wide := QuantXBytes(n), make([]byte, rows*WideBytes(n))
			records := make([]byte, tokens*stride)
			for t := range tokens {
				s.QuantizeX(records[t*stride:], x, q.zero)
			}
			row := func(r int) []byte { return wide[r*WideBytes(n):][:WideBytes(n)] }
			four := func(w *[QuantRows][]byte, r int) {
				for i := range w {
					w[i] = row(r + i)
				}
			}
			// The best of all slices, which the machine's other work has not met.
			best := func(b *testing.B, slice func()) {
				least := time.Duration(math.MaxInt64)
				for b.Loop() {
					begin := time.Now()
					slice()
					least = min(least, time.Since(begin))
				}
				b.ReportMetric(2*n*rows*tokens/least.Seconds()/1e9, "best-GFLOP/s")
			}
			b.Run(fmt.Sprintf("tile/%s/%s", q.name, s.Name), func(b *testing.B) {
				var out [QuantRows * QuantTokens]float32
				var at [QuantRows][]byte
				for r := range rows {
					q.widen(row(r), w[r*n/32*q.blockBytes:][:n/32*q.blockBytes], nil)
				}
				best(b, func() {
					for r := 0; r < rows; r += QuantRows {
						four(&at, r)
						for t := 0; t < tokens; t += QuantTokens {
							q.tile(&out, &at, records[t*stride:], stride)
						}
					}
				})
			})
			b.Run(fmt.Sprintf("widen/%s/%s", q.name, s.Name), func(b *testing.B) {
				best(b, func() {
					for r := range rows {
						q.widen(row(r), w[r*n/32*q.blockBytes:][:n/32*q.blockBytes], nil)
					}
				})
			})
			b.Run(fmt.Sprintf("rows/%s/%s", q.name, s.Name), func(b *testing.B) {
				var out [QuantRows]float32
				var at [QuantRows][]byte
				best(b, func() {
					for t := range tokens {
						for r := 0; r < rows; r += QuantRows {
							four(&at, r)
							q.rows(&out, &at, records[t*stride:])
						}
					}
				})
			})
		}
	}
}

// TestOuterPairs compares OuterPairs, over rows taken apart, with one plain
// Axpy after the other, bit for bit.
func TestOuterPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 3))
	var arenas [6]*arena
	for i := range arenas {
		arenas[i] = newArena(t, 1<<16)
	}
	const slots, blocks = 7, OuterCols / tensor.QuantBlock
	for n := range 40 {
		for _, special := range []int{0, 20} {
			in := randomQuant(rng, slots*OuterCols, special)
			y, h := in.x[:OuterCols], in.x[OuterCols:][:n]
			rows := make([]int32, n)
			for i := range rows {
				rows[i] = int32(rng.IntN(slots))
			}
			for _, s := range All() {
				for _, q := range []struct {
					name  string
					w     []byte
					pairs func(codes []uint32, scales []float32, w []byte, next *byte)
					axpy  func(y []float32, a float32, w []byte, next *byte)
				}{{"q8_0", in.q8, s.PairsQ8, Go().AxpyQ8}, {"q4_0", in.q4, s.PairsQ4, Go().AxpyQ4}} {
					part, head := len(q.w)/slots, special == 0
					want := slices.Clone(y)
					for i, r := range rows {
						q.axpy(want, h[i], q.w[int(r)*part:][:part], nil)
					}
					codes := guard(arenas[0], make([]uint32, slots*blocks*pairWords), 0, head)
					scales := guard(arenas[1], make([]float32, slots*blocks), 0, head)
					q.pairs(codes, scales, place(arenas[2], q.w, 0, head), nil)
					checkGuard(t, s.Name+" Pairs codes", arenas[0], codes)
					checkGuard(t, s.Name+" Pairs scales", arenas[1], scales)
					got := guard(arenas[3], y, 0, head)
					s.OuterPairs(got, place(arenas[4], h, 0, head), place(arenas[5], rows, 0, head), codes, scales, &got[0])
					checkGuard(t, s.Name+" OuterPairs", arenas[3], got)
					if !slices.Equal(floatBits(got), floatBits(want)) {
						t.Fatalf("%s %s: %d rows: not what Axpy adds", s.Name, q.name, n)
					}
				}
			}
		}
	}
}

// BenchmarkOuterPairs is 36 rows, 7 % of those that stay in a core's cache,
// for one token after the other.
func BenchmarkOuterPairs(b *testing.B) {
	const slots, tokens, want = 512, 32, 36
	rng := rand.New(rand.NewPCG(9, 4))
	y, h := make([]float32, tokens*4096), make([]float32, want)
	rows := make([]int32, tokens*want)
	for i := range rows {
		rows[i] = int32(i%want*slots/want + rng.IntN(slots/want))
	}
	codes, scales := make([]uint32, slots*OuterCols/2), make([]float32, slots*OuterCols/tensor.QuantBlock)
	for _, s := range All()[1:] {
		b.Run(s.Name, func(b *testing.B) {
			least := time.Duration(math.MaxInt64)
			for b.Loop() {
				begin := time.Now()
				for t := range tokens {
					s.OuterPairs(y[t*4096:], h, rows[t*want:][:want], codes, scales, &y[(t+1)%tokens*4096])
				}
				least = min(least, time.Since(begin))
			}
			b.ReportMetric(2*OuterCols*want*tokens/least.Seconds()/1e9, "best-GFLOP/s")
		})
	}
}
