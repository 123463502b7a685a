// Command _gen writes the amd64 assembly of package kernel with avo.
//
// One run writes one instruction set; go generate in package kernel runs it
// once per set:
//
//	go run . -isa avx2 -out ../amd64/avx2_amd64.s -stubs ../amd64/avx2_amd64.go -pkg amd64
//
// The functions of a set share one generator, so that their summation order
// cannot drift apart. An isa says how wide its registers are and nothing else.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	// lanes is the number of partial sums of every dot product.
	lanes = 64
	// ahead is the prefetch distance in bytes where a caller names none.
	ahead = 8192
)

// isa is one instruction set: the name its functions end in and its registers.
type isa struct {
	name  string
	width int // float32 per register
	vec   func() reg.VecVirtual

	q4Body Mem // see q4BodyTable
}

// dtype is a weight type: its name in function names, its element's Go type
// and size, and how dot and axpy pace it (see pace).
type dtype struct {
	name, elem        string
	size              int // bytes
	dotPace, axpyPace int
}

var (
	f32  = dtype{"F32", "float32", 4, 8, 8}
	f16  = dtype{"F16", "uint16", 2, 3, 0}
	bf16 = dtype{"BF16", "uint16", 2, 2, 0}
)

// count turns the bytes in n into elements of t.
func (t dtype) count(n reg.Register) { SHRQ(U8(bits.TrailingZeros(uint(t.size))), n) }

func main() {
	log.SetFlags(0)
	name := flag.String("isa", "", "instruction set: avx2 or avx512")
	flag.Parse()

	ConstraintExpr("!noasm")
	switch *name {
	case "avx2":
		isa{name: "AVX2", width: 8, vec: YMM}.avx2()
	case "avx512":
		s := isa{name: "AVX512", width: 16, vec: ZMM}
		s.q4Body = q4BodyTable()
		s.avx512()
	default:
		log.Fatalf("_gen: choose instruction set: got %q, want avx2 or avx512", *name)
	}
	Generate()
}

// avx2 writes every kernel.
func (s isa) avx2() {
	s.both()
	for _, t := range []dtype{f32, f16, bf16} {
		s.axpy(t, 1)
		s.axpy(t, 4)
	}
	for _, q := range []quant{q8, q4} {
		s.axpyQuant(q, 1)
		s.axpyQuant(q, 4)
		s.pairs(q)
		s.widen(q)
		s.tile256(q)
	}
	for _, t := range []dtype{f16, bf16} {
		s.decode(t)
	}
	s.encodeF16()
	s.quantizeX()
	s.roundX()
	s.dotU4S8()
	s.dotU3S8()
	s.absMax()
	s.roundS8()
	for _, kind := range gemmKinds {
		s.gemm256(kind, false)
	}
	s.gemm256(gemmKind{name: "Signed"}, true)
	s.softmax()
	s.swish()
	s.load()
	vendor()
}

// avx512 writes the kernels that gain by wider registers or by what AVX-512
// adds. What only memory limits has none.
func (s isa) avx512() {
	s.both()
	s.tile(f16)
	s.axpy4Q4()
	s.fourRows() // 16 registers do not hold four rows' sums
	for _, q := range []quant{q8, q4} {
		s.widen(q)
	}
	for _, kind := range gemmKinds {
		s.gemm(kind)
	}
	s.tileWide()
	s.rowsWide()
	for _, rows := range []int{1, 4} {
		s.dotU4S8VNNI(rows)
		s.dotU3S8VNNI(rows)
	}
}

// both writes the kernels that either set has.
func (s isa) both() {
	for _, t := range []dtype{f32, f16, bf16} {
		floats := func() rowKernel { return s.floats(t) }
		s.dot(t.name, floats)
		s.matVec(t.name, floats)
		s.dot4(t)
	}
	for _, q := range []quant{q8, q4} {
		quantised := func() rowKernel { return s.quantised(q) }
		s.dot(q.name, quantised)
		s.matVec(q.name, quantised)
		s.dot4Quant(q)
	}
	for _, b := range blocks {
		s.blockKernels(b)
	}
	s.interleave()
	s.gemmEnd()
	s.tile(f32)
	s.panel()
	s.outer()
	s.outerAt()
	s.outerPairs()
	s.attention()
}

// text opens function name of the set. Every function keeps its pointers to
// itself, so none may make its arguments escape.
func (s isa) text(name, sig string, doc ...string) {
	full := name + s.name
	TEXT(full, 1<<2, sig) // NOSPLIT
	Pragma("noescape")
	doc[0] = full + " " + doc[0]
	Doc(doc...)
}

// vecs returns n registers of the set.
func (s isa) vecs(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = s.vec()
	}
	return v
}

// zero clears registers. VXORPS on ZMM would need AVX512DQ.
func (s isa) zero(v ...reg.VecVirtual) {
	for _, r := range v {
		if s.width == 16 {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
	}
}

// loadW loads one register of weights and widens them to float32.
func (s isa) loadW(t dtype, m Mem, dst reg.VecVirtual) {
	switch t {
	case f32:
		VMOVUPS(m, dst)
	case f16:
		VCVTPH2PS(m, dst)
	case bf16:
		VPMOVZXWD(m, dst)
		VPSLLD(U8(16), dst, dst)
	}
}

// loadW1 loads one weight into lane 0 of dst and widens it to float32.
func loadW1(t dtype, m Mem, dst reg.VecVirtual) {
	if t == f32 {
		VMOVSS(m, dst)
		return
	}
	r := GP32()
	MOVWLZX(m, r)
	if t == bf16 {
		SHLL(U8(16), r)
	}
	VMOVD(r, dst)
	if t == f16 {
		VCVTPH2PS(dst, dst)
	}
}

// prefetchBase loads parameter next, or points ahead of wp where it is nil.
func prefetchBase(wp reg.Register) reg.GPVirtual {
	p, own := GP64(), GP64()
	LEAQ(at(wp, ahead), own)
	Load(Param("next"), p)
	TESTQ(p, p)
	CMOVQEQ(own, p)
	return p
}

// prefetch asks for the cache lines of n bytes at p plus disp. It fills the
// level-2 cache only. The level-1 cache follows by itself at little cost, and
// its few miss buffers would hold each line for a whole trip to memory.
func prefetch(p reg.Register, disp, n int) {
	for o := 0; o < n; o += 64 {
		PREFETCHT1(Mem{Base: p, Disp: disp + o})
	}
}

// prefetchAhead is prefetch from p+ahead on.
func prefetchAhead(p, ahead reg.Register, n int) {
	for o := 0; o < n; o += 64 {
		PREFETCHT1(Mem{Base: p, Index: ahead, Scale: 1, Disp: o})
	}
}

// pace delays a YMM register of weights by n operations that change nothing. A
// core that streams runs hundreds of instructions ahead, and its own loads of
// lines that are still on their way then compete with the prefetches. The
// operations fill its queue before that. ZMM registers are for processors that
// lose by it.
func pace(v reg.VecVirtual, n int) {
	if v.Size() == 64 {
		return
	}
	for range n {
		VPOR(v, v, v)
	}
}

// countdown runs body n times and leaves n at 0.
func countdown(name string, n reg.Register, body func()) {
	TESTQ(n, n)
	JZ(LabelRef(name + "_end"))
	Label(name)
	body()
	DECQ(n)
	JNZ(LabelRef(name))
	Label(name + "_end")
}

// at is the memory at base plus disp bytes.
func at(base reg.Register, disp int) Mem { return Mem{Base: base, Disp: disp} }

// label makes a label name for one of several like loops in a function.
func label(name string, i int) string { return fmt.Sprintf("%s%d", name, i) }
