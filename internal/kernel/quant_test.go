package kernel

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// quantOperands are the input of the kernels over quantised rows.
type quantOperands struct {
	q8, q4 []byte    // n elements
	x      []float32 // [4, n]
	y      []float32 // [n]
	a      float32
}

// randomQuant makes operands of n elements, a multiple of 32; one value in
// every special is one of the specials, none where special is 0.
func randomQuant(rng *rand.Rand, n, special int) quantOperands {
	f := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
			if special > 0 && rng.IntN(special) == 0 {
				v[i] = math.Float32frombits(specials32[rng.IntN(len(specials32))])
			}
		}
		return v
	}
	rows := func(blockBytes int) []byte {
		b := make([]byte, n/tensor.QuantBlock*blockBytes)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		for i := 0; i < len(b); i += blockBytes {
			scale := tensor.F32ToF16(float32(rng.NormFloat64()) / 100)
			if special > 0 && rng.IntN(special) == 0 {
				scale = specials16[rng.IntN(len(specials16))]
			}
			binary.LittleEndian.PutUint16(b[i:], scale)
		}
		return b
	}
	return quantOperands{rows(q8Bytes), rows(q4Bytes), f(4 * n), f(n), float32(rng.NormFloat64())}
}

// computeQuant runs every kernel of s over quantised rows on in, each slice
// guarded at one end of its arena, and reports writes outside the outputs.
func computeQuant(t testing.TB, s Set, in quantOperands, arenas []*arena, gap int, head bool) []outputs {
	t.Helper()
	n := len(in.y)
	// Records start anywhere; the largest shift that still tells neighbours apart.
	stride := QuantXBytes(n) + 4*gap
	x := place(arenas[0], in.x, gap, head)
	q8, q4 := place(arenas[1], in.q8, gap, head), place(arenas[2], in.q4, gap, head)
	var next *byte
	if n > 0 && gap > 0 {
		next = &q8[0]
	}
	var out []outputs
	add := func(name string, v ...float32) { out = append(out, outputs{name, floatBits(v)}) }
	for _, k := range []struct {
		name string
		zero int32
		w    []byte
		dot  func(w, x []byte, next *byte) float32
		dot4 func(w, x []byte, stride int, next *byte) [4]float32
		axpy func(y []float32, a float32, w []byte, next *byte)
	}{
		{"Q8", ZeroQ8, q8, s.DotQ8, s.Dot4Q8, s.AxpyQ8},
		{"Q4", ZeroQ4, q4, s.DotQ4, s.Dot4Q4, s.AxpyQ4},
	} {
		records := make([]byte, 3*stride+QuantXBytes(n))
		for i := range 4 {
			r := guard(arenas[5], bytes.Repeat([]byte{0x5a}, QuantXBytes(n)), gap, head)
			s.QuantizeX(r, x[i*n:(i+1)*n], k.zero)
			checkGuard(t, "QuantizeX", arenas[5], r)
			copy(records[i*stride:], r)
		}
		out = append(out, outputs{"QuantizeX" + k.name, recordBits(records)})
		records = place(arenas[3], records, gap, head)
		add("Dot"+k.name, k.dot(k.w, records, next))
		four := k.dot4(k.w, records, stride, next)
		add("Dot4"+k.name, four[:]...)
		y := guard(arenas[5], in.y, gap, head)
		k.axpy(y, in.a, k.w, next)
		add("Axpy"+k.name, y...)
		checkGuard(t, "Axpy"+k.name, arenas[5], y)
	}
	return out
}

// recordBits are the words of records, every NaN made the same.
func recordBits(b []byte) []uint32 {
	bits := make([]uint32, len(b)/4)
	for i := range bits {
		bits[i] = binary.LittleEndian.Uint32(b[4*i:])
		if i%64 >= 48 { // a scale
			bits[i] = floatBits([]float32{math.Float32frombits(bits[i])})[0]
		}
	}
	return bits
}

// quantArenas are as large as n elements need.
func quantArenas(t testing.TB, n int) []*arena {
	arenas := make([]*arena, 6)
	for i := range arenas {
		arenas[i] = newArena(t, 16*n+4*recordBytes+64)
	}
	return arenas
}

// TestQuantTwins compares every set with plain Go, bit for bit.
func TestQuantTwins(t *testing.T) {
	lengths := []int{4096, 4096 + 96}
	for n := 0; n <= 17*32; n += 32 {
		lengths = append(lengths, n)
	}
	arenas := quantArenas(t, slices.Max(lengths))
	rng := rand.New(rand.NewPCG(11, 12))
	for _, n := range lengths {
		for _, special := range []int{0, 500, 20} {
			gap, head := rng.IntN(4), rng.IntN(2) == 0
			if special == 0 {
				gap, head = 0, false // flush with the guard page
			}
			in := randomQuant(rng, n, special)
			want := computeQuant(t, Go(), in, arenas, gap, head)
			for _, s := range All()[1:] {
				report(t, s.Name, n, computeQuant(t, s, in, arenas, gap, head), want)
			}
		}
	}
}

// TestDot4QuantIsDot compares the rows of Dot4 with Dot, bit for bit.
func TestDot4QuantIsDot(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, s := range All() {
		for _, n := range []int{32, 96, 128, 160, 1024 + 64} {
			in := randomQuant(rng, n, 0)
			size := QuantXBytes(n)
			x8, x4 := make([]byte, 4*size), make([]byte, 4*size)
			var want8, want4 [4]float32
			for i := range 4 {
				s.QuantizeX(x8[i*size:], in.x[i*n:(i+1)*n], ZeroQ8)
				s.QuantizeX(x4[i*size:], in.x[i*n:(i+1)*n], ZeroQ4)
				want8[i], want4[i] = s.DotQ8(in.q8, x8[i*size:], nil), s.DotQ4(in.q4, x4[i*size:], nil)
			}
			if got := s.Dot4Q8(in.q8, x8, size, nil); got != want8 {
				t.Errorf("%s, n=%d: Dot4Q8 %v, DotQ8 %v", s.Name, n, got, want8)
			}
			if got := s.Dot4Q4(in.q4, x4, size, nil); got != want4 {
				t.Errorf("%s, n=%d: Dot4Q4 %v, DotQ4 %v", s.Name, n, got, want4)
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
				if got, want := s.DotQ8(q8, records, nil), sign*127*n*float32(int8(code)); got != want {
					t.Errorf("%s: DotQ8 of codes %#x and %v: got %v, want %v", s.Name, code, sign, got, want)
				}
				s.QuantizeX(records, x, ZeroQ4)
				nibbles := float32(int(code&15)-8) + float32(int(code>>4)-8)
				if got, want := s.DotQ4(q4, records, nil), sign*127*n/2*nibbles; got != want {
					t.Errorf("%s: DotQ4 of codes %#x and %v: got %v, want %v", s.Name, code, sign, got, want)
				}
			}
		}
	}
}

// TestQuantError holds the dot product to the weights' exact values: what is
// lost is the rounding of activations, at most half a step each, and of the
// float32 sums.
func TestQuantError(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for _, s := range All() {
		for _, n := range []int{32, 64, 96, 128, 4096} {
			in := randomQuant(rng, n, 0)
			for _, k := range []struct {
				dtype tensor.DType
				zero  int32
				w     []byte
				dot   func(w, x []byte, next *byte) float32
			}{{tensor.Q8_0, ZeroQ8, in.q8, s.DotQ8}, {tensor.Q4_0, ZeroQ4, in.q4, s.DotQ4}} {
				w, records := make([]float32, n), make([]byte, QuantXBytes(n))
				tensor.Decode(w, k.w, k.dtype)
				s.QuantizeX(records, in.x[:n], k.zero)
				var exact, bound float64
				for i, v := range w {
					first := i / 32 * 32
					top := float64(math.Float32frombits(absMaxBits(in.x[first : first+32])))
					exact += float64(v) * float64(in.x[i])
					bound += math.Abs(float64(v)) * (top/254*1.001 + math.Abs(float64(in.x[i]))*0x1p-24*float64(n/128+8))
				}
				got := float64(k.dot(k.w, records, nil))
				if off := math.Abs(got - exact); off > bound {
					t.Errorf("%s, n=%d: %v: got %v, exact %v: off by %g, want at most %g", s.Name, n, k.dtype, got, exact, off, bound)
				}
				y := slices.Clone(in.y)
				map[tensor.DType]func([]float32, float32, []byte, *byte){tensor.Q8_0: s.AxpyQ8, tensor.Q4_0: s.AxpyQ4}[k.dtype](y, in.a, k.w, nil)
				for i, v := range w {
					want := float64(in.y[i]) + float64(in.a)*float64(v)
					if off := math.Abs(float64(y[i]) - want); off > 0x1p-22*(math.Abs(float64(in.a)*float64(v))+math.Abs(want)) {
						t.Errorf("%s: Axpy %v: element %d: got %v, want %v", s.Name, k.dtype, i, y[i], want)
					}
				}
			}
		}
	}
}

// TestQuantNoAllocation holds that a kernel called through a Set allocates
// nothing.
func TestQuantNoAllocation(t *testing.T) {
	in := randomQuant(rand.New(rand.NewPCG(17, 18)), 160, 0)
	records := make([]byte, 4*QuantXBytes(160))
	for _, s := range All() {
		if n := testing.AllocsPerRun(10, func() {
			s.QuantizeX(records, in.x[:160], ZeroQ8)
			s.DotQ8(in.q8, records, &in.q8[0])
			s.Dot4Q4(in.q4, records, QuantXBytes(160), nil)
			s.AxpyQ4(in.y, in.a, in.q4, nil)
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, n)
		}
	}
}

// FuzzQuantTwins compares every set with plain Go on raw bits.
func FuzzQuantTwins(f *testing.F) {
	const perBlock = q8Bytes + q4Bytes + 4*32 + 4*32
	f.Add([]byte{}, uint8(0))
	f.Add(make([]byte, 5*perBlock), uint8(1))
	pattern := make([]byte, 7*perBlock)
	for i := range pattern {
		pattern[i] = byte(i * 37)
	}
	f.Add(pattern, uint8(5))
	const most = 64
	arenas := quantArenas(f, 32*most)
	f.Fuzz(func(t *testing.T, raw []byte, at uint8) {
		blocks := len(raw) / perBlock
		if blocks > most {
			return
		}
		n := 32 * blocks
		in := quantOperands{x: make([]float32, 4*n), y: make([]float32, n), a: 1.5}
		in.q8, raw = raw[:blocks*q8Bytes], raw[blocks*q8Bytes:]
		in.q4, raw = raw[:blocks*q4Bytes], raw[blocks*q4Bytes:]
		for i := range n {
			in.y[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			for j := range 4 {
				in.x[j*n+(i+j*7)%n] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(n+i):]))
			}
		}
		gap, head := int(at%4), at&4 != 0
		want := computeQuant(t, Go(), in, arenas, gap, head)
		for _, s := range All()[1:] {
			report(t, s.Name, n, computeQuant(t, s, in, arenas, gap, head), want)
		}
	})
}
