package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// rowType is a type of rows and how its kernels are looked up.
type rowType struct {
	tensor.DType
	chunked bool // in Set.Blocks
}

func (dt rowType) of(s *Set) *Rows {
	if dt.chunked {
		return s.Blocks[dt.DType]
	}
	return s.Rows(dt.DType)
}

func (dt rowType) String() string {
	if dt.chunked {
		return "chunks of " + dt.DType.String()
	}
	return dt.DType.String()
}

// rowTypes are what Set.Rows has and blockTypes what Set.Blocks has, in order.
var rowTypes, blockTypes = func() (rows, blocks []rowType) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0, tensor.Q4_0} {
		rows = append(rows, rowType{dt, false})
	}
	for _, dt := range slices.Sorted(maps.Keys(blockForms)) {
		blocks = append(blocks, rowType{dt, true})
	}
	return rows, blocks
}()

// scalesAt are where a block has float16.
var scalesAt = map[tensor.DType][]int{tensor.Q4_1: {0, 2}, tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208},
	tensor.Q5_1: {0, 2}, tensor.Q2_K: {80, 82}, tensor.Q3_K: {108}}

// zeroOf is the zero point of a quantised type.
func zeroOf(dt tensor.DType) int32 {
	if dt == tensor.Q4_0 {
		return ZeroQ4
	}
	return ZeroQ8
}

// arena is memory that faults just outside its ends where the system can.
type arena struct{ mem []byte }

// source draws operands: the same ones again from the same seed, or those that
// raw says.
type source struct {
	rng     *rand.Rand
	special int    // one value in so many is one of the specials; 0: none
	raw     []byte // if not empty, where bits come from, again and again
	at      int
}

func newSource(seed uint64, special int) *source {
	return &source{rng: rand.New(rand.NewPCG(seed, 1)), special: special}
}

// specials are the bits that a kernel could treat in its own way. In 16-bit
// form they serve float16 and, as upper halves, bfloat16.
var (
	specials32 = []uint32{0, 1 << 31, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff,
		0x7f800000, 0xff800000, 0x7fc00001, 0x7f800001, 0x3f800000, 0xbf800000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fffff}
	specials16 = []uint16{0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e01, 0x7c01,
		0x7f80, 0xff80, 0x7f7f, 0x7fc1, 0x7f81, 0x007f, 0x0080, 0x3c00, 0x3f80}
)

func (s *source) bits() uint32 {
	if len(s.raw) == 0 {
		return s.rng.Uint32()
	}
	var word [4]byte
	for i := range word {
		word[i] = s.raw[s.at%len(s.raw)]
		s.at++
	}
	return binary.LittleEndian.Uint32(word[:])
}

func (s *source) isSpecial() bool { return s.special > 0 && s.rng.IntN(s.special) == 0 }

func (s *source) floats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		switch {
		case len(s.raw) > 0:
			v[i] = math.Float32frombits(s.bits())
		case s.isSpecial():
			v[i] = math.Float32frombits(specials32[s.rng.IntN(len(specials32))])
		default:
			v[i] = float32(s.rng.NormFloat64())
		}
	}
	return v
}

// halves are float16 and bfloat16 alike.
func (s *source) halves(n int) []uint16 {
	v := make([]uint16, n)
	for i := range v {
		switch {
		case len(s.raw) > 0:
			v[i] = uint16(s.bits())
		case s.isSpecial():
			v[i] = specials16[s.rng.IntN(len(specials16))]
		case i%2 == 0:
			v[i] = tensor.F32ToBF16(float32(s.rng.NormFloat64()))
		default: // exponents from 2^-6 to 2^1 in both types
			v[i] = uint16(s.rng.IntN(2))<<15 | uint16(0x3c00-s.rng.IntN(0x1800))
		}
	}
	return v
}

func (s *source) bytes(n int) []byte {
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(s.bits())
	}
	return v
}

// codes are n numbers from -127 to 127.
func (s *source) codes(n int) []int8 {
	v := make([]int8, n)
	for i, b := range s.bytes(n) {
		v[i] = max(-127, int8(b))
	}
	return v
}

// weights are n elements of type dt.
func (s *source) weights(dt tensor.DType, n int) []byte {
	switch {
	case dt == tensor.F32:
		return Bytes(s.floats(n))
	case !dt.Quantised():
		return Bytes(s.halves(n))
	}
	w, offsets := s.bytes(int(dt.RowBytes(n))), scalesAt[dt]
	if offsets == nil {
		offsets = []int{0}
	}
	for i := 0; i < len(w) && len(s.raw) == 0; i += dt.BlockBytes() {
		for _, at := range offsets {
			scale := tensor.F32ToF16(float32(s.rng.NormFloat64()) / 100)
			if s.isSpecial() {
				scale = specials16[s.rng.IntN(len(specials16))]
			}
			if dt != tensor.MXFP4 {
				binary.LittleEndian.PutUint16(w[i+at:], scale)
			} else if !s.isSpecial() { // an exponent of any size
				w[i] = byte(110 + s.rng.IntN(30))
			}
		}
	}
	return w
}

// inputs are activations [rows, n] as rows of type dt take them, stride bytes
// apart.
func inputs(dt rowType, x []float32, rows, n, gap int) (in []byte, stride int) {
	if !dt.Quantised() {
		stride = 4 * (n + gap)
		in = make([]byte, max(0, rows-1)*stride+4*n)
		for i := range rows {
			copy(in[i*stride:], Bytes(x[i*n:(i+1)*n]))
		}
		return in, stride
	}
	size, quantize, round := QuantXBytes(n), quantizeXBy(quantizeBlocks), roundXBy(roundBlocks)
	if dt.chunked {
		size = RoundXBytes(n)
	}
	stride = size + 4*gap
	in = make([]byte, max(0, rows-1)*stride+size)
	for i := range rows {
		if dt.chunked {
			round(in[i*stride:][:size], x[i*n:(i+1)*n])
		} else {
			quantize(in[i*stride:][:size], x[i*n:(i+1)*n], zeroOf(dt.DType))
		}
	}
	return in, stride
}

// caller runs kernels of one set. It places what they are given at one end of
// memory that faults beyond it, and notes what they give.
type caller struct {
	testing.TB
	*source
	s      *Set
	arenas []*arena
	used   int
	gap    int  // elements from the end that faults
	head   bool // at the beginning of the arena
	out    []output
}

// output is what a kernel gave, NaN made one.
type output struct {
	name string
	bits []uint32
}

// newArenas is enough for operands of up to size bytes.
func newArenas(t testing.TB, size int) []*arena {
	arenas := make([]*arena, 14)
	for i := range arenas {
		arenas[i] = newArena(t, size)
	}
	mark(arenas[0].mem)
	return arenas
}

// marked is what the memory around an output holds.
const marked = 0xa5

// mark makes memory such that writes to it are seen.
func mark(mem []byte) {
	for i := range mem {
		mem[i] = marked
	}
}

// give places v, which a kernel reads.
func give[T any](c *caller, v []T) []T {
	a := c.arenas[1+c.used%(len(c.arenas)-1)]
	c.used++
	return place(a, v, c.gap, c.head)
}

// take runs f on an output that holds v, notes what f makes of it, and reports
// writes outside it.
func take[T int8 | byte | uint16 | int32 | uint32 | float32](c *caller, name string, v []T, f func(o []T)) []T {
	c.Helper()
	a := c.arenas[0]
	o := place(a, v, c.gap, c.head)
	f(o)
	note(c, name, o...)
	result := slices.Clone(o)
	if len(o) > 0 {
		mark(unsafe.Slice((*byte)(unsafe.Pointer(&o[0])), len(o)*int(unsafe.Sizeof(o[0]))))
	}
	if bytes.Count(a.mem, []byte{marked}) != len(a.mem) {
		c.Errorf("%s %s wrote outside its output", c.s.Name, name)
		mark(a.mem)
	}
	return result
}

// note is take for what a function returns.
func note[T int8 | byte | uint16 | int32 | uint32 | float32](c *caller, name string, v ...T) {
	bits := make([]uint32, len(v))
	for i, v := range v {
		switch v := any(v).(type) {
		case float32:
			bits[i] = floatBits(v)
		case int8:
			bits[i] = uint32(v)
		case byte:
			bits[i] = uint32(v)
		case uint16:
			bits[i] = uint32(v)
		case int32:
			bits[i] = uint32(v)
		case uint32:
			bits[i] = v
		}
	}
	c.out = append(c.out, output{name, bits})
}

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

// floatBits returns the bits of f, every NaN made the same: which payload an
// operation keeps depends on the order of its operands, which nothing fixes.
func floatBits(f float32) uint32 {
	if f != f {
		return 0x7fc00000
	}
	return math.Float32bits(f)
}

// sameBits reports whether all of v and w have the same bits.
func sameBits(v, w []float32) bool {
	return slices.EqualFunc(v, w, func(a, b float32) bool { return floatBits(a) == floatBits(b) })
}

// compare runs f for plain Go and for every other set, on the same operands, and
// wants the same bits.
func compare(t testing.TB, arenas []*arena, draw func() *source, gap int, head bool, what string, f func(c *caller)) {
	t.Helper()
	var want []output
	for _, s := range All() {
		c := &caller{TB: t, source: draw(), s: &s, arenas: arenas, gap: gap, head: head}
		f(c)
		if want == nil {
			want = c.out
			continue
		}
		for i, w := range want {
			if g := c.out[i]; !slices.Equal(g.bits, w.bits) {
				k := 0
				for g.bits[k] == w.bits[k] {
					k++
				}
				t.Errorf("%s, %s: %s: output %d of %d is %#08x, want %#08x", s.Name, what, w.name, k, len(w.bits), g.bits[k], w.bits[k])
			}
		}
	}
}

// family is kernels that take operands of one length.
type family struct {
	name    string
	lengths []int
	run     func(c *caller, n int)
}

// upTo is the lengths from 0 to n by step, and more.
func upTo(n, step int, more ...int) []int {
	var all []int
	for i := 0; i <= n; i += step {
		all = append(all, i)
	}
	return append(all, more...)
}

// families are all kernels.
func families() []family {
	all := []family{
		{"sketches", upTo(300, 1, 4096), callSketches},
		{"quantise", upTo(300, 1, 4096), callQuantize},
		{"convert", upTo(300, 1, 777), callConvert},
		{"swish", upTo(70, 1), callSwish},
		{"load", upTo(600, 1, 4096+13), callLoad},
		{"tiles", upTo(200, 1, 511, 1024, 1027), callTiles},
		{"outer", upTo(40, 1), callOuter},
	}
	for _, dt := range rowTypes {
		lengths := upTo(300, 1, 511, 777, 1024, 2048+13, 4096+63)
		if dt.Quantised() {
			lengths = upTo(17*32, 32, 640, 1024, 1664, 4096, 4096+96)
		}
		all = append(all, family{"rows " + dt.String(), lengths, func(c *caller, n int) { callRows(c, dt, n) }})
	}
	for _, dt := range blockTypes {
		lengths := upTo(35*32, 32, 1664, 4096, 4096+96)
		if dt.BlockElems() == tensor.SuperBlock {
			lengths = upTo(9*256, 256, 4096)
		}
		all = append(all, family{"rows " + dt.String(), lengths, func(c *caller, n int) { callRows(c, dt, n) }})
	}
	for _, hd := range []int{16, 32, 48, 64, 80, 96, 112, 128, 160, 256} {
		all = append(all, family{fmt.Sprint("attention, head dim ", hd), upTo(64, 3, 1, 2, 4, 5, 7, 8, 60, 64), func(c *caller, n int) { callAttention(c, hd, n) }})
	}
	return all
}
