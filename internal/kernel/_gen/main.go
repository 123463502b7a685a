// Command _gen writes the amd64 assembly of package kernel with avo.
//
// One run writes one instruction set; go generate in package kernel runs it
// once per set:
//
//	go run . -isa avx2 -out ../amd64/avx2_amd64.s -stubs ../amd64/avx2_amd64.go -pkg amd64
//
// The functions of a set share one generator, so that their summation order
// cannot drift apart; an isa says how wide its registers are and nothing else.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var ahead, _ = strconv.Atoi(os.Getenv("KAHEAD"))
const (
	// lanes is the number of partial sums of every dot product.
	lanes = 64
	// ahead is the prefetch distance in bytes where the caller names no next
	// row. 4 KiB hides the memory latency of one core at full rate (latency
	// 100 ns at 16 GB/s is 1.6 KB) with room for a slow neighbour.

)

// isa is one instruction set: the name its functions end in and its registers.
type isa struct {
	name  string
	width int // float32 per register
	vec   func() reg.VecVirtual
}

// dtype is a weight type: its name in function names, Go element and size.
type dtype struct {
	name, elem string
	size       int // bytes
}

var (
	f32  = dtype{"F32", "float32", 4}
	f16  = dtype{"F16", "uint16", 2}
	bf16 = dtype{"BF16", "uint16", 2}
)

func main() {
	log.SetFlags(0)
	name := flag.String("isa", "", "instruction set: avx2 or avx512")
	flag.Parse()

	ConstraintExpr("!noasm")
	var s isa
	switch *name {
	case "avx2":
		s = isa{"AVX2", 8, YMM}
	case "avx512":
		s = isa{"AVX512", 16, ZMM}
	default:
		log.Fatalf("_gen: choose instruction set: got %q, want avx2 or avx512", *name)
	}
	for _, t := range []dtype{f32, f16, bf16} {
		s.dot(t)
	}
	for _, t := range []dtype{f32, f16, bf16} {
		s.dot4(t)
	}
	for _, t := range []dtype{f32, f16, bf16} {
		s.axpy(t)
	}
	s.load()
	if s.width == 8 {
		s.dotU4S8()
		s.absMax()
		s.roundS8()
		s.convert()
	} else {
		s.dotU4S8VNNI()
	}
	Generate()
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
	Load(Param("next"), p)
	LEAQ(Mem{Base: wp, Disp: ahead}, own)
	TESTQ(p, p)
	CMOVQEQ(own, p)
	return p
}

// prefetch asks for the cache lines of n bytes at p plus disp.
func prefetch(p reg.Register, disp, n int) {
	for o := 0; o < n; o += kstride {
		switch os.Getenv("KPF") {
		case "t0", "":
			PREFETCHT0(Mem{Base: p, Disp: disp + o})
		case "t1":
			PREFETCHT1(Mem{Base: p, Disp: disp + o})
		case "t2":
			PREFETCHT2(Mem{Base: p, Disp: disp + o})
		case "nta":
			PREFETCHNTA(Mem{Base: p, Disp: disp + o})
		}
	}
}

var kstride, _ = strconv.Atoi(os.Getenv("KSTRIDE"))
func near(w reg.Register, n int) {
	d, _ := strconv.Atoi(os.Getenv("KDIST"))
	for o := 0; o < n; o += kstride {
		m := Mem{Base: w, Disp: d + o}
		switch os.Getenv("KNEAR") {
		case "t1":
			PREFETCHT1(m)
		case "t0":
			PREFETCHT0(m)
		case "nta":
			PREFETCHNTA(m)
		}
	}
}

// at is the memory at base plus disp bytes.
func at(base reg.Register, disp int) Mem { return Mem{Base: base, Disp: disp} }

// label makes a label name for one of several like loops in a function.
func label(name string, i int) string { return fmt.Sprintf("%s%d", name, i) }
