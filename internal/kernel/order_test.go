package kernel

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// TestManyAreOne holds that what takes several rows or tokens gives the bits of
// what takes one.
func TestManyAreOne(t *testing.T) {
	src := newSource(3, 100)
	for _, s := range All() {
		for _, dt := range rowTypes {
			for _, n := range []int{0, 32, 96, 128, 160, 640, 1024 + 128} {
				checkManyAreOne(t, &s, dt, src, n)
			}
		}
		for _, dt := range blockTypes {
			for _, n := range []int{0, 32, 96, 256, 512, 576, 768, 1632, 2048} {
				if n%dt.BlockElems() != 0 {
					continue
				}
				checkManyAreOne(t, &s, dt, src, n)
			}
		}
	}
}

func checkManyAreOne(t *testing.T, s *Set, dt rowType, src *source, n int) {
	t.Helper()
	k, rowBytes := dt.of(s), int(dt.RowBytes(n))
	all, x := src.weights(dt.DType, 4*n), src.floats(TileTokens*n)
	in, stride := inputs(dt, x, TileTokens, n, 0)
	var w [4][]byte
	for i := range w {
		w[i] = all[i*rowBytes:][:rowBytes]
	}
	// products are those of rows with tokens, one by one.
	products := func(rows, tokens int) (want []float32) {
		for i := range rows {
			for j := range tokens {
				want = append(want, k.Dot(w[i], in[j*stride:], nil))
			}
		}
		return want
	}
	same := func(name string, got, want []float32) {
		if !sameBits(got, want) {
			t.Errorf("%s, %v, n=%d: %s gives %v, one by one %v", s.Name, dt, n, name, got, want)
		}
	}
	four, y := k.Dot4(w[0], in, stride, nil), make([]float32, 4)
	same("Dot4", four[:], products(1, 4))
	k.MatVec(y, all, rowBytes, in, 4096)
	same("MatVec", y, products(4, 1))
	clear(y)
	k.MatVec2(y[:2], y[2:], all, all[2*rowBytes:], rowBytes, in, 4096)
	same("MatVec2", y, products(4, 1))
	if k.Gemm != nil && n > 0 {
		checkGemm(t, s, dt, src, n)
	}
	if k.Axpy == nil {
		return
	}
	var next [4]*byte
	sum := src.floats(n)
	want, a := slices.Clone(sum), [4]float32{1, -2, 0.25, 3}
	for i := range w {
		k.Axpy(want, a[i], w[i], nil)
	}
	k.Axpy4(sum, &a, &w, &next)
	same("Axpy4", sum, want)
	if dt.Quantised() {
		if !QuantTiles(n) {
			return
		}
		var tile [QuantRows * QuantTokens]float32
		wide := w
		for i := range w {
			wide[i] = make([]byte, WideBytes(n))
			k.Widen(wide[i], w[i], nil)
		}
		k.Tile(&tile, &wide, in, stride, QuantTokens)
		same("Tile", tile[:], products(QuantRows, QuantTokens))
		return
	}
	// Tiles are of float32, to which other floats convert.
	var tile [TileRows * TileTokens]float32
	var wide [TileRows][]float32
	panel := make([]float32, TileTokens*n)
	for i := range wide {
		wide[i] = make([]float32, n)
		tensor.Decode(wide[i], w[i], dt.DType)
	}
	for j := range TileTokens {
		s.PanelRow(panel, j, x[j*n:][:n])
	}
	s.TileF32(&tile, &wide, panel)
	same("TileF32", tile[:], products(TileRows, TileTokens))
	s.RowsF32(&four, &wide, x)
	same("RowsF32", four[:], products(TileRows, 1))
}

// checkGemm holds the products of panels to Dot's.
func checkGemm(t *testing.T, s *Set, dt rowType, src *source, n int) {
	t.Helper()
	k, rowBytes, space := dt.of(s), int(dt.RowBytes(n)), &GemmSpace{}
	w, x := src.weights(dt.DType, GemmRows*n), src.floats(GemmTokens*n)
	in, stride := inputs(dt, x, GemmTokens, n, 1)
	var panels [2][]byte
	for p := range panels {
		var rows [PanelRows][]byte
		for i := range rows {
			rows[i] = w[(p*PanelRows+i)*rowBytes:][:rowBytes]
		}
		panels[p] = make([]byte, PanelBytes(n))
		k.Gemm.Panel(panels[p], &rows, space)
	}
	k.Gemm.Multiply(panels, n, in, stride, space)
	for i := range GemmRows {
		for j := range GemmTokens {
			got, want := space.Out[j*GemmRows+i], k.Dot(w[i*rowBytes:][:rowBytes], in[j*stride:], nil)
			if floatBits(got) != floatBits(want) {
				t.Fatalf("%s, %v, n=%d: product of row %d and token %d: got %v, want %v", s.Name, dt, n, i, j, got, want)
			}
		}
	}
}

// TestOuterIsAxpy holds that what adds many rows to outputs adds them one by one,
// in order.
func TestOuterIsAxpy(t *testing.T) {
	const rows, slots = 37, 9
	src := newSource(9, 50)
	for _, s := range All() {
		w, h, y := src.floats(rows*OuterCols), src.floats(rows*TileTokens), src.floats(TileTokens*OuterCols)
		want := slices.Clone(y)
		for i := range rows {
			for j := range TileTokens {
				s.AxpyF32(want[j*OuterCols:], h[i*TileTokens+j], w[i*OuterCols:][:OuterCols], nil)
			}
		}
		s.Outer(y, OuterCols, h, TileTokens, w)
		if !sameBits(y, want) {
			t.Errorf("%s: Outer does not add what Axpy does", s.Name)
		}
		at := make([]int32, rows)
		for i := range at {
			at[i] = int32(src.rng.IntN(slots))
		}
		for _, dt := range rowTypes {
			raw, y := src.weights(dt.DType, slots*OuterCols), src.floats(OuterCols)
			want, size := slices.Clone(y), int(dt.RowBytes(OuterCols))
			for i, r := range at {
				dt.of(&s).Axpy(want, h[i], raw[int(r)*size:][:size], nil)
			}
			if dt.Quantised() {
				codes, scales := make([]uint32, slots*OuterCols/2), make([]float32, slots*OuterCols/tensor.QuantBlock)
				dt.of(&s).Pairs(codes, scales, raw, nil)
				s.OuterPairs(y, h, at, codes, scales, nil)
			} else {
				wide := make([]float32, slots*OuterCols)
				tensor.Decode(wide, raw, dt.DType)
				s.OuterAt(y, h, at, wide)
			}
			if !sameBits(y, want) {
				t.Errorf("%s, %v: an outer product does not add what Axpy does", s.Name, dt)
			}
		}
	}
}

// TestDotError holds the error bound that the package documentation states.
func TestDotError(t *testing.T) {
	src := newSource(5, 0)
	for _, s := range All() {
		for _, n := range []int{1, 15, 16, 17, 63, 64, 100, 1000, 4096, 11111} {
			w32, x := src.floats(n), src.floats(n)
			var exact, size float64
			for k, w := range w32 {
				exact += float64(w) * float64(x[k])
				size += math.Abs(float64(w) * float64(x[k]))
			}
			got := float64(s.DotF32(w32, x, nil))
			if bound := float64(n/64+23) * 0x1p-24 * size; math.Abs(got-exact) > bound {
				t.Errorf("%s, n=%d: DotF32 %v, exact %v: off by %g, want at most %g", s.Name, n, got, exact, got-exact, bound)
			}
		}
	}
}

// TestDotOrder holds the summation order: each case tells its lane apart from
// every other place where the sum could be formed.
func TestDotOrder(t *testing.T) {
	const big = 1 << 24 // big + 1 == big in float32
	w := func(n int, at map[int]float32) []float32 {
		v := make([]float32, n)
		for k, f := range at {
			v[k] = f
		}
		return v
	}
	tests := []struct {
		name string
		w    []float32
		want float32
	}{
		{"same lane loses 1", w(128, map[int]float32{0: big, 64: 1, 65: -big}), 0},
		{"other lane keeps 1", w(128, map[int]float32{0: big, 65: 1, 64: -big}), 1},
		{"halves meet first", w(64, map[int]float32{0: big, 32: -big, 16: 1}), 1},
		{"quarter meets before neighbour", w(64, map[int]float32{0: big, 16: 1, 1: -big}), 0},
		{"last lanes are neighbours", w(64, map[int]float32{0: big, 2: -big, 1: 1}), 1},
		{"group of 16 is a lane's", w(80, map[int]float32{0: big, 64: -big, 1: 1}), 1},
		{"rest comes last, in order", w(18, map[int]float32{0: big, 16: 1, 17: -big}), 0},
		{"rest after reduction", w(18, map[int]float32{0: big, 1: -big, 16: 1}), 1},
	}
	for _, s := range All() {
		for _, tt := range tests {
			ones := make([]float32, len(tt.w))
			for i := range ones {
				ones[i] = 1
			}
			if got := s.DotF32(tt.w, ones, nil); got != tt.want {
				t.Errorf("%s, %s: got %v, want %v", s.Name, tt.name, got, tt.want)
			}
		}
	}
}

// TestSpecials holds what special values must give, whatever the twin says.
func TestSpecials(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tests := []struct{ w, x, want float32 }{
		{inf, 1, inf}, {inf, -1, -inf}, {inf, 0, nan}, {nan, 1, nan}, {1, nan, nan},
		{math.MaxFloat32, 2, inf}, {math.SmallestNonzeroFloat32, 1, math.SmallestNonzeroFloat32},
		{math.SmallestNonzeroFloat32, 0.5, 0}, {0x1p-126, 0.5, 0x1p-127},
	}
	for _, s := range All() {
		for _, tt := range tests {
			for _, n := range []int{1, 16, 64, 65, 130} {
				for k := range n {
					w, x, y := make([]float32, n), make([]float32, 4*n), make([]float32, n)
					w[k] = tt.w
					for i := range 4 {
						x[i*n+k] = tt.x
					}
					s.AxpyF32(y, tt.x, w[k:k+1], nil)
					four := s.Dot4F32(w, x, n, nil)
					for _, got := range append(four[:], s.DotF32(w, x, nil), y[0]) {
						if got != tt.want && (got == got || tt.want == tt.want) {
							t.Fatalf("%s, %v*%v at %d of %d: got %v, want %v", s.Name, tt.w, tt.x, k, n, got, tt.want)
						}
					}
				}
			}
		}
	}
}

// TestSwish holds activation functions to their formulas.
func TestSwish(t *testing.T) {
	type formula struct {
		name          string
		linear, cubic float32
		f             func(x float64) float64
	}
	inf := float32(math.Inf(1))
	for _, s := range All() {
		for _, f := range []formula{
			{"SiLU", 1, 0, func(x float64) float64 { return x / (1 + math.Exp(-x)) }},
			{"QuickGELU", 1.702, 0, func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }},
			{"GELU", GELULinear, GELUCubic, func(x float64) float64 {
				return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
			}},
		} {
			var h []float32
			for x := float32(-100); x < 100; x += 0.037 {
				h = append(h, x, x/1000)
			}
			h = append(h, 0, 1e20, -1e20, inf, math.SmallestNonzeroFloat32)
			x := slices.Clone(h)
			s.Swish(h, nil, f.linear, f.cubic)
			for i, got := range h {
				want := f.f(float64(x[i]))
				argument := math.Abs(float64(x[i]) * (float64(f.linear) + float64(f.cubic)*float64(x[i])*float64(x[i])))
				bound := (4 + 3*min(argument, 90)) * 0x1p-24 * math.Abs(want)
				if off := math.Abs(float64(got) - want); off > max(bound, 5e-36) && float64(got) != want {
					t.Fatalf("%s: %s(%v): got %v, want %v", s.Name, f.name, x[i], got, want)
				}
			}
			nan := []float32{float32(math.NaN())}
			if s.Swish(nan, nil, f.linear, f.cubic); nan[0] == nan[0] {
				t.Errorf("%s: %s(NaN): got %v", s.Name, f.name, nan[0])
			}
		}
	}
}

// TestQuantExtremes holds the integer sums at the ends of their ranges, where
// 16-bit intermediates would saturate.
func TestQuantExtremes(t *testing.T) {
	const n = 128
	for _, s := range All() {
		for _, code := range []byte{0x80, 0x7f, 0x00, 0xff} {
			for _, sign := range []float32{1, -1} {
				q8, q4 := bytes.Repeat([]byte{code}, n/32*q8Bytes), bytes.Repeat([]byte{code}, n/32*q4Bytes)
				for b := range n / 32 {
					binary.LittleEndian.PutUint16(q8[b*q8Bytes:], 0x3c00) // 1
					binary.LittleEndian.PutUint16(q4[b*q4Bytes:], 0x3c00)
				}
				x := make([]float32, n)
				for i := range x {
					x[i] = sign * 127
				}
				records := make([]byte, QuantXBytes(n))
				s.QuantizeX(records, x, ZeroQ8)
				if got, want := s.Q8.Dot(q8, records, nil), sign*127*n*float32(int8(code)); got != want {
					t.Errorf("%s: DotQ8 of codes %#x and %v: got %v, want %v", s.Name, code, sign, got, want)
				}
				s.QuantizeX(records, x, ZeroQ4)
				nibbles := float32(int(code&15)-8) + float32(int(code>>4)-8)
				if got, want := s.Q4.Dot(q4, records, nil), sign*127*n/2*nibbles; got != want {
					t.Errorf("%s: DotQ4 of codes %#x and %v: got %v, want %v", s.Name, code, sign, got, want)
				}
			}
		}
	}
}

// blockSizes is the magnitudes of a row's elements, of types with least values
// those of what is added to make them.
func blockSizes(dt rowType, raw []byte, n int) []float64 {
	size, form := make([]float64, n), blockForms[dt.DType]
	w := make([]float32, n)
	tensor.Decode(w, raw, dt.DType)
	for i, v := range w {
		size[i] = math.Abs(float64(v))
		if form.least {
			p := form.part(raw[i/dt.BlockElems()*dt.BlockBytes():], i%dt.BlockElems()/tensor.QuantBlock)
			size[i] += 2 * math.Abs(float64(p.least[0])+float64(p.least[1]))
		}
	}
	return size
}

// TestQuantError holds the dot product to the weights' exact values: what is
// lost is the rounding of activations, at most half a step each, and of the
// float32 sums.
func TestQuantError(t *testing.T) {
	src := newSource(15, 0)
	for _, s := range All() {
		for _, n := range []int{32, 64, 96, 128, 4096} {
			for _, dt := range slices.Concat(rowTypes[3:], blockTypes) {
				if n%dt.BlockElems() != 0 {
					continue
				}
				raw, x, y, a := src.weights(dt.DType, n), src.floats(n), src.floats(n), src.floats(1)[0]
				w := make([]float32, n)
				tensor.Decode(w, raw, dt.DType)
				records, _ := inputs(dt, x, 1, n, 0)
				size := blockSizes(dt, raw, n)
				var exact, bound float64
				for i, v := range w {
					first := i / 32 * 32
					top := float64(math.Float32frombits(absMaxBits(x[first : first+32])))
					exact += float64(v) * float64(x[i])
					bound += math.Abs(float64(v))*top/254*1.001 + size[i]*math.Abs(float64(x[i]))*0x1p-24*float64(n/128+8)
				}
				got := float64(dt.of(&s).Dot(raw, records, nil))
				if off := math.Abs(got - exact); off > bound {
					t.Errorf("%s, n=%d: %v: got %v, exact %v: off by %g, want at most %g", s.Name, n, dt, got, exact, off, bound)
				}
				if dt.of(&s).Axpy == nil {
					continue
				}
				got32 := slices.Clone(y)
				dt.of(&s).Axpy(got32, a, raw, nil)
				for i, v := range w {
					want := float64(y[i]) + float64(a)*float64(v)
					if off := math.Abs(float64(got32[i]) - want); off > 0x1p-22*(math.Abs(float64(a)*float64(v))+math.Abs(want)) {
						t.Errorf("%s: Axpy %v: element %d: got %v, want %v", s.Name, dt, i, got32[i], want)
					}
				}
			}
		}
	}
}
