package kernel

import (
	"bytes"
	"encoding/binary"
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

// tileMost is the most elements of a row of the tests.
const tileMost = 1664

func quantTileArenas(t testing.TB) (arenas [2*QuantRows + 1]*arena) {
	for i := range arenas {
		arenas[i] = newArena(t, QuantTokens*QuantXBytes(tileMost)+256)
	}
	return arenas
}

// checkQuantTiles compares tiles and rows of n elements with plain dot
// products, bit for bit, of operands at one end of their arenas.
func checkQuantTiles(t *testing.T, in quantOperands, n int, arenas *[2*QuantRows + 1]*arena, head bool) {
	t.Helper()
	stride, plain := QuantXBytes(n), quantTilers(Go())
	for i, all := range [][]byte{in.q8, in.q4} {
		row := n / tensor.QuantBlock * plain[i].blockBytes
		records := make([]byte, QuantTokens*stride)
		for j := range QuantTokens {
			Go().QuantizeX(records[j*stride:][:stride], in.x[j*n:][:n], plain[i].zero)
		}
		x := place(arenas[2*QuantRows], records, 0, head)
		var want [QuantRows * QuantTokens]float32
		for k := range want {
			want[k] = plain[i].dot(all[k/QuantTokens*row:][:row], records[k%QuantTokens*stride:], nil)
		}
		for _, s := range All() {
			q := quantTilers(s)[i]
			var wide [QuantRows][]byte
			for r := range wide {
				w := place(arenas[r], all[r*row:][:row], 0, head)
				wide[r] = guard(arenas[QuantRows+r], bytes.Repeat([]byte{0x7f}, WideBytes(n)), 0, head)
				q.widen(wide[r], w, nil)
				checkGuard(t, s.Name+" Widen", arenas[QuantRows+r], wide[r])
			}
			var tile [QuantRows * QuantTokens]float32
			var rows [QuantRows]float32
			q.tile(&tile, &wide, x, stride)
			q.rows(&rows, &wide, x)
			if !slices.Equal(floatBits(tile[:]), floatBits(want[:])) {
				t.Fatalf("%s %s, n=%d: a tile is %v, dot products %v", s.Name, q.name, n, tile, want)
			}
			for r, got := range rows {
				if !slices.Equal(floatBits([]float32{got}), floatBits(want[r*QuantTokens:][:1])) {
					t.Fatalf("%s %s, n=%d: row %d of four is %v, the dot product %v", s.Name, q.name, n, r, got, want[r*QuantTokens])
				}
			}
		}
	}
}

// TestQuantTiles holds that a tile is dot products, at every length up to
// three chunks and a part of one.
func TestQuantTiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 8))
	arenas := quantTileArenas(t)
	for n := 0; n <= tileMost; n += 128 {
		for _, special := range []int{0, 5} {
			checkQuantTiles(t, randomQuant(rng, n*QuantRows, special), n, &arenas, special == 0)
		}
	}
}

// FuzzQuantTiles compares tiles with dot products on raw bits.
func FuzzQuantTiles(f *testing.F) {
	const perElem = (q8Bytes+q4Bytes)*QuantRows/tensor.QuantBlock + 1 + 4*QuantTokens // rounded up
	f.Add(make([]byte, 128*perElem), false)
	pattern := make([]byte, 640*perElem)
	for i := range pattern {
		pattern[i] = byte(i * 37)
	}
	f.Add(pattern, true)
	arenas := quantTileArenas(f)
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		n := len(raw) / perElem &^ 127
		if n > tileMost {
			return
		}
		blocks := n * QuantRows / tensor.QuantBlock
		in := quantOperands{q8: raw[:blocks*q8Bytes], q4: raw[blocks*q8Bytes:][:blocks*q4Bytes], x: make([]float32, QuantTokens*n)}
		raw = raw[blocks*(q8Bytes+q4Bytes):]
		for i := range in.x {
			in.x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		checkQuantTiles(t, in, n, &arenas, head)
	})
}

// TestQuantTilesAllocateNothing holds that a tile called through a Set
// allocates nothing.
func TestQuantTilesAllocateNothing(t *testing.T) {
	const n = 640
	in := randomQuant(rand.New(rand.NewPCG(7, 9)), n, 0)
	wide, records := make([]byte, WideBytes(n)), make([]byte, QuantTokens*QuantXBytes(n))
	codes, scales, at := make([]uint32, n/2), make([]float32, n/tensor.QuantBlock), []int32{0, 1}
	w := [QuantRows][]byte{wide, wide, wide, wide}
	var tile [QuantRows * QuantTokens]float32
	var rows [QuantRows]float32
	for _, s := range All() {
		if got := testing.AllocsPerRun(5, func() {
			s.WidenQ4(wide, in.q4, nil)
			s.TileQ4(&tile, &w, records, QuantXBytes(n))
			s.RowsQ4(&rows, &w, records)
			s.PairsQ8(codes, scales, in.q8, nil)
			s.OuterPairs(in.y, in.x, at, codes, scales, nil)
		}); got != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, got)
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
