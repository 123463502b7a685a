package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"testing"
)

// tileOperands are the operands of tiles of n elements.
type tileOperands struct {
	w32 [TileRows][]float32
	w16 [TileRows][]uint16
	x   [TileTokens][]float32
}

// tileOf takes a tile's operands out of one operands of at least
// TileTokens*n elements.
func tileOf(in operands, n int) (o tileOperands) {
	for i := range o.w32 {
		o.w32[i], o.w16[i] = in.w32[i*n:][:n], in.w16[i*n:][:n]
	}
	for j := range o.x {
		o.x[j] = in.x[j*n:][:n]
	}
	return o
}

// checkTiles compares the tiles of s with the dot products of plain Go and its
// panel with that of plain Go, bit for bit. Slices end at, or with head start
// at, memory that faults where the system can.
func checkTiles(t testing.TB, s Set, o tileOperands, arenas []*arena, head bool) {
	t.Helper()
	n := len(o.x[0])
	panel := guard(arenas[0], make([]float32, TileTokens*n), 0, head)
	for j := range o.x {
		s.PanelRow(panel, j, place(arenas[1], o.x[j], 0, head))
	}
	checkGuard(t, s.Name+" PanelRow", arenas[0], panel)
	want := make([]float32, TileTokens*n)
	for j, x := range o.x {
		Go().PanelRow(want, j, x)
	}
	if !slices.Equal(floatBits(panel), floatBits(want)) {
		t.Fatalf("%s, n=%d: a panel other than plain Go's", s.Name, n)
	}
	w32, w16 := o.w32, o.w16
	for i := range w32 {
		w32[i] = place(arenas[2+i], w32[i], 0, head)
	}
	for i := range w16 {
		w16[i] = place(arenas[2+TileRows+i], w16[i], 0, head)
	}
	var got [3][TileRows * TileTokens]float32
	s.TileF32(&got[0], &w32, panel)
	s.TileF16(&got[1], &w16, panel)
	s.TileBF16(&got[2], &w16, panel)
	dot := Go()
	for j := range o.x {
		x := place(arenas[1], o.x[j], 0, head)
		var rows [3][TileRows]float32
		s.RowsF32(&rows[0], &w32, x)
		s.RowsF16(&rows[1], &w16, x)
		s.RowsBF16(&rows[2], &w16, x)
		for i := range TileRows {
			want := []float32{dot.DotF32(w32[i], x, nil), dot.DotF16(w16[i], x, nil), dot.DotBF16(w16[i], x, nil)}
			sums := []float32{rows[0][i], rows[1][i], rows[2][i]}
			if !slices.Equal(floatBits(sums), floatBits(want)) {
				t.Fatalf("%s, n=%d: row %d of rows f32, f16, bf16 is %v, dot products %v", s.Name, n, i, sums, want)
			}
		}
	}
	for i := range TileRows {
		for j := range TileTokens {
			x := o.x[j]
			want := []float32{dot.DotF32(w32[i], x, nil), dot.DotF16(w16[i], x, nil), dot.DotBF16(w16[i], x, nil)}
			at := i*TileTokens + j
			sums := []float32{got[0][at], got[1][at], got[2][at]}
			if !slices.Equal(floatBits(sums), floatBits(want)) {
				t.Fatalf("%s, n=%d: row %d of tiles f32, f16, bf16 with token %d is %v, dot products %v", s.Name, n, i, j, sums, want)
			}
		}
	}
}

func tileArenas(t testing.TB, n int) []*arena {
	arenas := make([]*arena, 2+2*TileRows)
	for i := range arenas {
		arenas[i] = newArena(t, (TileTokens*n+64)*4)
	}
	return arenas
}

// TestTiles holds that a tile is dot products, at every length around those
// where its loops end.
func TestTiles(t *testing.T) {
	var lengths []int
	for n := range 200 {
		lengths = append(lengths, n)
	}
	lengths = append(lengths, 511, 1024, 1027)
	arenas := tileArenas(t, slices.Max(lengths))
	rng := rand.New(rand.NewPCG(1, 3))
	for _, n := range lengths {
		for _, special := range []int{0, 500, 5} {
			in := random(rng, TileTokens*n, 0, special)
			for _, s := range All() {
				checkTiles(t, s, tileOf(in, n), arenas, special == 500)
			}
		}
	}
}

// FuzzTiles compares tiles with dot products on raw bits.
func FuzzTiles(f *testing.F) {
	f.Add(make([]byte, 16*TileTokens*64), false)
	pattern := make([]byte, 16*TileTokens*83)
	for i := range pattern {
		pattern[i] = byte(i * 37)
	}
	f.Add(pattern, true)
	const most = 64 * 1024
	arenas := tileArenas(f, most/16/TileTokens)
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		if len(raw) > most {
			return
		}
		n := len(raw) / 16 / TileTokens
		in := fromBytes(raw[:16*TileTokens*n])
		for _, s := range All() {
			checkTiles(t, s, tileOf(in, n), arenas, head)
		}
	})
}

// TestOuter compares Outer with one Axpy after the other, bit for bit.
func TestOuter(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	yArena, hArena, wArena := newArena(t, 1<<16), newArena(t, 1<<16), newArena(t, 1<<16)
	for n := range 40 {
		for _, special := range []int{0, 50} {
			stride, hStride := OuterCols+rng.IntN(3), TileTokens+rng.IntN(3)
			y := random(rng, (TileTokens-1)*stride+OuterCols, 0, special).w32
			h := random(rng, max(0, (n-1)*hStride+TileTokens), 0, special).w32
			w := random(rng, n*OuterCols, 0, special).w32
			want := slices.Clone(y)
			for i := range n {
				for j := range TileTokens {
					Go().AxpyF32(want[j*stride:][:OuterCols], h[i*hStride+j], w[i*OuterCols:][:OuterCols], nil)
				}
			}
			for _, s := range All() {
				head := rng.IntN(2) == 0
				got := guard(yArena, y, 0, head)
				s.Outer(got, stride, place(hArena, h, 0, head), hStride, place(wArena, w, 0, head))
				checkGuard(t, s.Name+" Outer", yArena, got)
				if !slices.Equal(floatBits(got), floatBits(want)) {
					t.Fatalf("%s: %d rows, strides %d and %d: not what Axpy adds", s.Name, n, stride, hStride)
				}
			}
		}
	}
}

// TestOuterAt compares OuterAt with one Axpy after the other, bit for bit.
func TestOuterAt(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 3))
	yArena, hArena, wArena, rArena := newArena(t, 1<<16), newArena(t, 1<<16), newArena(t, 1<<16), newArena(t, 1<<16)
	for n := range 40 {
		for _, special := range []int{0, 50} {
			y, h := random(rng, OuterCols, 0, special).w32, random(rng, n, 0, special).w32
			w := random(rng, 20*OuterCols, 0, special).w32
			rows, want := make([]int32, n), slices.Clone(y)
			for i := range n {
				rows[i] = int32(rng.IntN(20))
				Go().AxpyF32(want, h[i], w[rows[i]*OuterCols:][:OuterCols], nil)
			}
			for _, s := range All() {
				head := rng.IntN(2) == 0
				got := guard(yArena, y, 0, head)
				s.OuterAt(got, place(hArena, h, 0, head), place(rArena, rows, 0, head), place(wArena, w, 0, head))
				checkGuard(t, s.Name+" OuterAt", yArena, got)
				if !slices.Equal(floatBits(got), floatBits(want)) {
					t.Fatalf("%s: %d rows: not what Axpy adds", s.Name, n)
				}
			}
		}
	}
}

// TestTilesAllocateNothing holds that a tile called through a Set allocates
// nothing.
func TestTilesAllocateNothing(t *testing.T) {
	const n = 256
	in := random(rand.New(rand.NewPCG(7, 9)), TileTokens*n, 0, 0)
	panel := make([]float32, TileTokens*n)
	o := tileOf(in, n)
	var out [TileRows * TileTokens]float32
	var four [TileRows]float32
	at := []int32{0, 0}
	for _, s := range All() {
		if got := testing.AllocsPerRun(5, func() {
			s.PanelRow(panel, 1, o.x[1])
			s.TileF32(&out, &o.w32, panel)
			s.TileF16(&out, &o.w16, panel)
			s.RowsF16(&four, &o.w16, o.x[0])
			s.Outer(in.y, OuterCols, in.x, TileTokens, panel[:OuterCols])
			s.OuterAt(in.y, in.x, at, panel[:OuterCols])
		}); got != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, got)
		}
	}
}

// TestAVX2TileRegisters is TestAVX2Registers for the kernels over many tokens.
func TestAVX2TileRegisters(t *testing.T) {
	for _, name := range []string{"amd64/tile_avx2_amd64.s", "amd64/wide_avx2_amd64.s"} {
		asm, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bad := regexp.MustCompile(`\b(Z\d+|[XY](1[6-9]|2\d|3[01])|K[0-7])\b`).Find(asm); bad != nil {
			t.Errorf("%s uses %s", name, bad)
		}
	}
}

// BenchmarkTile is tiles over weights that stay in a core's cache while tokens
// pass by, laying these out included.
func BenchmarkTile(b *testing.B) {
	const rows, tokens = 64, 96
	for _, s := range All()[1:] {
		for _, n := range []int{768, 4096} {
			b.Run(fmt.Sprintf("%s/f16/n=%d", s.Name, n), func(b *testing.B) {
				w, x := make([]uint16, rows*n), make([]float32, tokens*n)
				for i := range w {
					w[i] = 0x3c00
				}
				panel := make([]float32, TileTokens*n)
				var out [TileRows * TileTokens]float32
				var row [TileRows][]uint16
				for b.Loop() {
					for t := 0; t < tokens; t += TileTokens {
						for j := range TileTokens {
							s.PanelRow(panel, j, x[(t+j)*n:][:n])
						}
						for r := 0; r < rows; r += TileRows {
							for i := range row {
								row[i] = w[(r+i)*n:][:n]
							}
							s.TileF16(&out, &row, panel)
						}
					}
				}
				b.ReportMetric(2*rows*tokens*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
