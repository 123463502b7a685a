package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// arena is memory that faults just outside its ends where the system can.
type arena struct{ mem []byte }

// place copies v to the arena so that the slice ends gap elements before the
// arena's end, or starts gap elements after its start where head is set.
func place[T any](a *arena, v []T, gap int, head bool) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if len(v) == 0 {
		return nil
	}
	start := len(a.mem) - (len(v)+gap)*size
	if head {
		start = gap * size
	}
	p := unsafe.Slice((*T)(unsafe.Pointer(&a.mem[start])), len(v))
	copy(p, v)
	return p
}

// operands is the input of every kernel at one length n.
type operands struct {
	w32    []float32 // [n]
	w16    []uint16  // [n], float16 and bfloat16 alike
	x      []float32 // [3*stride+n]
	stride int
	y      []float32 // [n]
	a      float32
	u4     []byte // [n]
	s8     []int8 // [2*n]
}

// specials are the bits that a kernel could treat in its own way. In 16-bit
// form they serve float16 and, as upper halves, bfloat16.
var (
	specials32 = []uint32{0, 1 << 31, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff,
		0x7f800000, 0xff800000, 0x7fc00001, 0x7f800001, 0x3f800000, 0xbf800000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fffff}
	specials16 = []uint16{0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e01, 0x7c01,
		0x7f80, 0xff80, 0x7f7f, 0x7fc1, 0x7f81, 0x007f, 0x0080, 0x3c00, 0x3f80}
)

// random makes operands of length n; one value in every special is one of the
// specials, none where special is 0.
func random(rng *rand.Rand, n, stride, special int) operands {
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
	in := operands{w32: f(n), x: f(3*stride + n), stride: stride, y: f(n), a: float32(rng.NormFloat64())}
	for i := range n {
		// Exponents from 2^-6 to 2^1 in both 16-bit types.
		h := uint16(rng.IntN(2))<<15 | uint16(0x3c00-rng.IntN(0x1800))
		if i%2 == 0 {
			h = tensor.F32ToBF16(float32(rng.NormFloat64()))
		}
		if special > 0 && rng.IntN(special) == 0 {
			h = specials16[rng.IntN(len(specials16))]
		}
		in.w16 = append(in.w16, h)
		in.u4 = append(in.u4, byte(rng.Uint32()))
		in.s8 = append(in.s8, int8(rng.IntN(255)-127), int8(rng.IntN(255)-127))
	}
	return in
}

// outputs is what every kernel made of one operands, NaN made one.
type outputs struct {
	name string
	bits []uint32
}

// compute runs every kernel of s on in, each slice guarded at one end of its
// arena, and reports writes outside the outputs.
func compute(t testing.TB, s Set, in operands, arenas []*arena, gap int, head bool) []outputs {
	t.Helper()
	n := len(in.w32)
	w32 := place(arenas[0], in.w32, gap, head)
	w16 := place(arenas[1], in.w16, gap, head)
	x := place(arenas[2], in.x, gap, head)
	u4 := place(arenas[3], in.u4, gap, head)
	s8 := place(arenas[4], in.s8, gap, head)
	var out []outputs
	add := func(name string, v ...float32) { out = append(out, outputs{name, floatBits(v)}) }
	add16 := func(name string, v []uint16) { out = append(out, outputs{name, wide(v)}) }

	var next32 *float32
	var next16 *uint16
	if n > 0 && gap > 0 {
		next32, next16 = &w32[n-1], &w16[n-1] // any address will do
	}
	add("DotF32", s.DotF32(w32, x, next32))
	add("DotF16", s.DotF16(w16, x, next16))
	add("DotBF16", s.DotBF16(w16, x, next16))
	four := s.Dot4F32(w32, x, in.stride, next32)
	add("Dot4F32", four[:]...)
	four = s.Dot4F16(w16, x, in.stride, next16)
	add("Dot4F16", four[:]...)
	four = s.Dot4BF16(w16, x, in.stride, next16)
	add("Dot4BF16", four[:]...)

	for name, axpy := range map[string]func(y []float32){
		"AxpyF32":  func(y []float32) { s.AxpyF32(y, in.a, w32, next32) },
		"AxpyF16":  func(y []float32) { s.AxpyF16(y, in.a, w16, next16) },
		"AxpyBF16": func(y []float32) { s.AxpyBF16(y, in.a, w16, next16) },
	} {
		y := guard(arenas[5], in.y, gap, head)
		axpy(y)
		add(name, y...)
		checkGuard(t, name, arenas[5], y)
	}
	out = append(out, outputs{"DotU4S8", []uint32{uint32(s.DotU4S8(u4, s8))}})
	sketches := s.Dot4U4S8(u4[:n/4], s8, n/2)
	out = append(out, outputs{"Dot4U4S8", wide(sketches[:])})
	for i, dot := range s.DotPlanesS8 {
		w := place(arenas[3], in.u4[:n*(i+1)/4], gap, head) // as many codes as there are in s8
		name := fmt.Sprintf("DotPlanesS8[%d]", i)
		out = append(out, outputs{name, []uint32{uint32(dot(w, s8))}})
		sums := s.Dot4PlanesS8[i](w[:len(w)/4], s8, n/2)
		out = append(out, outputs{name + " of four", wide(sums[:])})
	}
	u4 = place(arenas[3], in.u4, gap, head)
	load := s.Load(u4)
	out = append(out, outputs{"Load", []uint32{uint32(load), uint32(load >> 32)}})
	load = s.LoadNext(u4, nil)
	out = append(out, outputs{"LoadNext", []uint32{uint32(load), uint32(load >> 32)}})

	f := guard(arenas[5], in.y, gap, head)
	s.DecodeF16(f, w16)
	add("DecodeF16", f...)
	s.DecodeBF16(f, w16)
	add("DecodeBF16", f...)
	checkGuard(t, "Decode", arenas[5], f)
	h := guard(arenas[5], in.w16, gap, head)
	s.EncodeF16(h, x[:n])
	add16("EncodeF16", h)
	s.EncodeBF16(h, x[:n])
	add16("EncodeBF16", h)
	checkGuard(t, "Encode", arenas[5], h)
	q := guard(arenas[5], make([]int8, n), gap, head)
	scale, sum := s.QuantizeS8(q, x[:n])
	add("QuantizeS8 scale", scale)
	out = append(out, outputs{"QuantizeS8", append(wide(q), uint32(sum))})
	checkGuard(t, "QuantizeS8", arenas[5], q)
	slices.SortFunc(out, func(a, b outputs) int { return strings.Compare(a.name, b.name) })
	return out
}

// bytesOf is v's memory.
func bytesOf[T uint16 | float32](v []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

// guard fills an output arena with a pattern and places v in it.
func guard[T any](a *arena, v []T, gap int, head bool) []T {
	copy(a.mem, bytes.Repeat([]byte{0xa5}, len(a.mem)))
	return place(a, v, gap, head)
}

// checkGuard reports a byte of a outside v that lost the pattern.
func checkGuard[T any](t testing.TB, name string, a *arena, v []T) {
	t.Helper()
	before, after := a.mem, a.mem[:0]
	if len(v) > 0 {
		start := int(uintptr(unsafe.Pointer(&v[0])) - uintptr(unsafe.Pointer(&a.mem[0])))
		before, after = a.mem[:start], a.mem[start+len(v)*int(unsafe.Sizeof(v[0])):]
	}
	if bytes.Count(before, []byte{0xa5}) != len(before) || bytes.Count(after, []byte{0xa5}) != len(after) {
		t.Errorf("%s wrote outside its output", name)
	}
}

// floatBits returns the bits of v, every NaN made the same: which payload an
// operation keeps depends on the order of its operands, which nothing fixes.
func floatBits(v []float32) []uint32 {
	bits := make([]uint32, len(v))
	for i, f := range v {
		bits[i] = math.Float32bits(f)
		if f != f {
			bits[i] = 0x7fc00000
		}
	}
	return bits
}

func wide[T int8 | uint16 | int32](v []T) []uint32 {
	bits := make([]uint32, len(v))
	for i, h := range v {
		bits[i] = uint32(h)
	}
	return bits
}

// report compares the outputs of a set with those of its twin.
func report(t testing.TB, set string, n int, got, want []outputs) {
	t.Helper()
	for i, w := range want {
		if g := got[i]; g.name != w.name || !slices.Equal(g.bits, w.bits) {
			k := 0
			for k < len(w.bits) && g.bits[k] == w.bits[k] {
				k++
			}
			t.Errorf("%s %s, n=%d: output %d is %#08x, want %#08x", set, w.name, n, k, g.bits[k], w.bits[k])
		}
	}
}

// fromBytes makes operands of raw bytes, for fuzzing.
func fromBytes(raw []byte) operands {
	n := len(raw) / 16
	u32 := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])) }
	in := operands{stride: n, x: make([]float32, 4*n), a: 1.5}
	for i := range n {
		in.w32 = append(in.w32, u32(4*i))
		in.w16 = append(in.w16, binary.LittleEndian.Uint16(raw[4*n+2*i:]))
		in.y = append(in.y, u32(8*n+4*i))
		in.u4 = append(in.u4, raw[12*n+i])
		for j := range 4 {
			in.x[j*n+i] = u32(4 * ((i + j*n/4) % (3 * n)))
		}
		in.s8 = append(in.s8, max(-127, int8(raw[12*n+2*i])), max(-127, int8(raw[12*n+2*i+1])))
	}
	if n > 0 {
		in.a = in.w32[n/2]
	}
	return in
}
