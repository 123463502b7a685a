//go:build !noasm

package kernel

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/sparseflow/sparseflow/internal/kernel/amd64"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// All returns every set that this machine can run, the best last; the first is
// Go.
func All() []Set {
	all := []Set{Go()}
	// The AVX2 kernels convert and fuse, so they need all three.
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return all
	}
	all = append(all, avx2())
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512VL {
		return all
	}
	// Single rows are bound by memory. An EPYC (Zen 4), whose registers of 512 bits
	// are two halves to it, reads faster by AVX2; a Xeon by AVX-512.
	all = append(all, avx512Rows(avx512(avx2())), avx512(avx2()))
	if intel() {
		slices.Reverse(all[len(all)-2:])
	}
	return all
}

func avx2() Set {
	ahead := 8 << 10
	if intel() {
		ahead = 3 << 10
	}
	return Set{
		Name: "avx2", Ahead: ahead,
		F32:  Rows{Dot: amd64.DotF32AVX2, Dot4: amd64.Dot4F32AVX2, MatVec: amd64.MatVecF32AVX2, Axpy: amd64.AxpyF32AVX2, Axpy4: amd64.Axpy4F32AVX2},
		F16:  Rows{Dot: amd64.DotF16AVX2, Dot4: amd64.Dot4F16AVX2, MatVec: amd64.MatVecF16AVX2, Axpy: amd64.AxpyF16AVX2, Axpy4: amd64.Axpy4F16AVX2},
		BF16: Rows{Dot: amd64.DotBF16AVX2, Dot4: amd64.Dot4BF16AVX2, MatVec: amd64.MatVecBF16AVX2, Axpy: amd64.AxpyBF16AVX2, Axpy4: amd64.Axpy4BF16AVX2},
		Q8: Rows{
			Dot: amd64.DotQ8AVX2, Dot4: amd64.Dot4Q8AVX2, MatVec: amd64.MatVecQ8AVX2, Axpy: amd64.AxpyQ8AVX2, Axpy4: amd64.Axpy4Q8AVX2,
			Widen: amd64.WidenQ8AVX2, Tile: amd64.TileQ8AVX2, Pairs: amd64.PairsQ8AVX2,
		},
		Q4: Rows{
			Dot: amd64.DotQ4AVX2, Dot4: amd64.Dot4Q4AVX2, MatVec: amd64.MatVecQ4AVX2, Axpy: amd64.AxpyQ4AVX2, Axpy4: amd64.Axpy4Q4AVX2,
			Widen: amd64.WidenQ4AVX2, Tile: amd64.TileQ4AVX2, Pairs: amd64.PairsQ4AVX2,
		},
		PanelRow: amd64.PanelRowAVX2, TileF32: amd64.TileF32AVX2, RowsF32: rowsF32(amd64.DotF32AVX2),
		Outer: amd64.OuterAVX2, OuterAt: amd64.OuterAtAVX2, OuterPairs: amd64.OuterPairsAVX2,
		DotU4S8: amd64.DotU4S8AVX2, Dot4U4S8: fourSketches(amd64.DotU4S8AVX2),
		DotU3S8: amd64.DotU3S8AVX2, Dot4U3S8: fourSketches(amd64.DotU3S8AVX2),
		QuantizeS8: quantizer(amd64.AbsMaxBitsAVX2, amd64.RoundS8AVX2),
		QuantizeX:  quantizeXBy(amd64.QuantizeBlocksAVX2),
		RoundX:     roundXBy(amd64.RoundBlocksAVX2),
		Blocks: map[tensor.DType]*Rows{
			tensor.Q2_K:   oneByOne(amd64.DotQ2KAVX2),
			tensor.Q8_0:   withGemm(amd64.DotQ80AVX2, gemmAVX2(tensor.Q8_0, amd64.SpreadQ80AVX2, amd64.GemmSignedAVX2, 0)),
			tensor.IQ4_NL: withGemm(amd64.DotIQ4NLAVX2, gemmAVX2(tensor.IQ4_NL, amd64.SpreadIQ4NLAVX2, amd64.GemmSignedAVX2, 0)),
			tensor.IQ4_XS: withGemm(amd64.DotIQ4XSAVX2, gemmAVX2(tensor.IQ4_XS, amd64.SpreadIQ4XSAVX2, amd64.GemmSignedAVX2, 0)),
			tensor.Q4_0:   withGemm(amd64.DotQ40AVX2, gemmAVX2(tensor.Q4_0, amd64.SpreadQ40AVX2, amd64.GemmZeroAVX2, 1<<3)),
			tensor.Q5_0:   withGemm(amd64.DotQ50AVX2, gemmAVX2(tensor.Q5_0, amd64.SpreadQ50AVX2, amd64.GemmZeroAVX2, 1<<4)),
			tensor.MXFP4:  withGemm(amd64.DotMXFP4AVX2, gemmAVX2(tensor.MXFP4, amd64.SpreadMXFP4AVX2, amd64.GemmZeroAVX2, 1<<4)),
			tensor.Q4_1:   withGemm(amd64.DotQ41AVX2, gemmAVX2(tensor.Q4_1, amd64.SpreadQ41AVX2, amd64.GemmLeastAVX2, 0)),
			tensor.Q5_1:   withGemm(amd64.DotQ51AVX2, gemmAVX2(tensor.Q5_1, amd64.SpreadQ51AVX2, amd64.GemmLeastAVX2, 0)),
			tensor.Q4_K:   withGemm(amd64.DotQ4KAVX2, gemmAVX2(tensor.Q4_K, amd64.SpreadQ4KAVX2, amd64.GemmLeastAVX2, 0)),
			tensor.Q5_K:   withGemm(amd64.DotQ5KAVX2, gemmAVX2(tensor.Q5_K, amd64.SpreadQ5KAVX2, amd64.GemmLeastAVX2, 0)),
			tensor.Q6_K:   withGemm(amd64.DotQ6KAVX2, gemmAVX2(tensor.Q6_K, amd64.SpreadQ6KAVX2, amd64.GemmHalvesAVX2, 1<<5)),
			tensor.Q3_K:   withGemm(amd64.DotQ3KAVX2, gemmAVX2(tensor.Q3_K, amd64.SpreadQ3KAVX2, amd64.GemmHalvesAVX2, 1<<2)),
		},
		Swish:     swishBy(amd64.SwishAVX2),
		DecodeF16: amd64.DecodeF16AVX2, EncodeF16: amd64.EncodeF16AVX2,
		DecodeBF16: amd64.DecodeBF16AVX2,
		Load:       amd64.LoadAVX2,
		Attention: Attention{
			F32:     Pages{amd64.ScoresF32AVX2, amd64.ValuesF32AVX2},
			F16:     Pages{amd64.ScoresF16AVX2, amd64.ValuesF16AVX2},
			Q8:      Pages{amd64.ScoresQ8AVX2, amd64.ValuesQ8AVX2},
			Scores4: amd64.Scores4AVX2, Values4: amd64.Values4AVX2,
			Softmax: amd64.SoftmaxAVX2,
		},
	}
}

// avx512 is s with wider registers where several tokens share what is read.
func avx512(s Set) Set {
	s.Name = "avx512"
	s.F32.Dot4, s.F16.Dot4, s.BF16.Dot4 = amd64.Dot4F32AVX512, amd64.Dot4F16AVX512, amd64.Dot4BF16AVX512
	s.PanelRow, s.TileF32, s.TileF16, s.RowsF32 = amd64.PanelRowAVX512, amd64.TileF32AVX512, amd64.TileF16AVX512, amd64.RowsF32AVX512
	s.Outer, s.OuterAt, s.OuterPairs = amd64.OuterAVX512, amd64.OuterAtAVX512, amd64.OuterPairsAVX512
	s.Q4.Axpy4 = amd64.Axpy4Q4AVX512
	s.Attention.Scores4, s.Attention.Values4 = amd64.Scores4AVX512, amd64.Values4AVX512
	if cpu.X86.HasAVX512VNNI {
		s.DotU4S8, s.Dot4U4S8 = amd64.DotU4S8AVX512, amd64.Dot4U4S8AVX512
		s.DotU3S8, s.Dot4U3S8 = amd64.DotU3S8AVX512, amd64.Dot4U3S8AVX512
		s.Q8.Dot, s.Q8.Dot4, s.Q8.MatVec = amd64.DotQ8AVX512, amd64.Dot4Q8AVX512, amd64.MatVecQ8AVX512
		s.Q4.Dot, s.Q4.Dot4, s.Q4.MatVec = amd64.DotQ4AVX512, amd64.Dot4Q4AVX512, amd64.MatVecQ4AVX512
		s.Q8.Widen, s.Q8.Tile = amd64.WidenQ8AVX512, tileAVX512
		s.Q4.Widen, s.Q4.Tile = amd64.WidenQ4AVX512, tileAVX512
		s.Blocks = map[tensor.DType]*Rows{
			tensor.Q8_0:   withFine(tensor.Q8_0, inPairs(tensor.Q8_0, amd64.DotQ80AVX512, amd64.Dot4Q80AVX512, amd64.PairQ80AVX512, gemmAVX512(tensor.Q8_0, amd64.SpreadQ80AVX512, amd64.GemmZeroAVX512, 1<<7)), amd64.FineQ80AVX512),
			tensor.Q4_0:   inPairs(tensor.Q4_0, amd64.DotQ40AVX512, amd64.Dot4Q40AVX512, amd64.PairQ40AVX512, gemmAVX512(tensor.Q4_0, amd64.SpreadQ40AVX512, amd64.GemmZeroAVX512, 1<<3)),
			tensor.Q4_1:   inPairs(tensor.Q4_1, amd64.DotQ41AVX512, amd64.Dot4Q41AVX512, amd64.PairQ41AVX512, gemmAVX512(tensor.Q4_1, amd64.SpreadQ41AVX512, amd64.GemmLeastAVX512, 0)),
			tensor.Q5_0:   inPairs(tensor.Q5_0, amd64.DotQ50AVX512, amd64.Dot4Q50AVX512, amd64.PairQ50AVX512, gemmAVX512(tensor.Q5_0, amd64.SpreadQ50AVX512, amd64.GemmZeroAVX512, 1<<4)),
			tensor.Q4_K:   inPairs(tensor.Q4_K, amd64.DotQ4KAVX512, amd64.Dot4Q4KAVX512, amd64.PairQ4KAVX512, gemmAVX512(tensor.Q4_K, amd64.SpreadQ4KAVX512, amd64.GemmLeastAVX512, 0)),
			tensor.Q5_K:   inPairs(tensor.Q5_K, amd64.DotQ5KAVX512, amd64.Dot4Q5KAVX512, amd64.PairQ5KAVX512, gemmAVX512(tensor.Q5_K, amd64.SpreadQ5KAVX512, amd64.GemmLeastAVX512, 0)),
			tensor.Q6_K:   withFine(tensor.Q6_K, inPairs(tensor.Q6_K, amd64.DotQ6KAVX512, amd64.Dot4Q6KAVX512, amd64.PairQ6KAVX512, gemmAVX512(tensor.Q6_K, amd64.SpreadQ6KAVX512, amd64.GemmHalvesAVX512, 1<<5)), amd64.FineQ6KAVX512),
			tensor.IQ4_NL: inPairs(tensor.IQ4_NL, amd64.DotIQ4NLAVX512, amd64.Dot4IQ4NLAVX512, amd64.PairIQ4NLAVX512, gemmAVX512(tensor.IQ4_NL, amd64.SpreadIQ4NLAVX512, amd64.GemmZeroAVX512, 1<<7)),
			tensor.Q2_K:   inPairs(tensor.Q2_K, amd64.DotQ2KAVX512, amd64.Dot4Q2KAVX512, amd64.PairQ2KAVX512, nil),
			tensor.Q5_1:   inPairs(tensor.Q5_1, amd64.DotQ51AVX512, amd64.Dot4Q51AVX512, amd64.PairQ51AVX512, gemmAVX512(tensor.Q5_1, amd64.SpreadQ51AVX512, amd64.GemmLeastAVX512, 0)),
			tensor.Q3_K:   inPairs(tensor.Q3_K, amd64.DotQ3KAVX512, amd64.Dot4Q3KAVX512, amd64.PairQ3KAVX512, gemmAVX512(tensor.Q3_K, amd64.SpreadQ3KAVX512, amd64.GemmHalvesAVX512, 1<<2)),
			tensor.IQ4_XS: inPairs(tensor.IQ4_XS, amd64.DotIQ4XSAVX512, amd64.Dot4IQ4XSAVX512, amd64.PairIQ4XSAVX512, gemmAVX512(tensor.IQ4_XS, amd64.SpreadIQ4XSAVX512, amd64.GemmZeroAVX512, 1<<7)),
			tensor.MXFP4:  inPairs(tensor.MXFP4, amd64.DotMXFP4AVX512, amd64.Dot4MXFP4AVX512, amd64.PairMXFP4AVX512, gemmAVX512(tensor.MXFP4, amd64.SpreadMXFP4AVX512, amd64.GemmZeroAVX512, 1<<4)),
		}
	}
	return s
}

// avx512Rows is s with wider registers for single rows too.
func avx512Rows(s Set) Set {
	s.Name = "avx512-rows"
	s.F32.Dot, s.F32.MatVec = amd64.DotF32AVX512, amd64.MatVecF32AVX512
	s.F16.Dot, s.F16.MatVec = amd64.DotF16AVX512, amd64.MatVecF16AVX512
	s.BF16.Dot, s.BF16.MatVec = amd64.DotBF16AVX512, amd64.MatVecBF16AVX512
	s.Attention.F32 = Pages{amd64.ScoresF32AVX512, amd64.ValuesF32AVX512}
	s.Attention.F16 = Pages{amd64.ScoresF16AVX512, amd64.ValuesF16AVX512}
	return s
}

// tileAVX512 is Tile over rows that either type was widened to.
func tileAVX512(out *[QuantRows * QuantTokens]float32, w *[QuantRows][]byte, x []byte, stride, tokens int) {
	if tokens == QuantTokens {
		amd64.TileWideAVX512(out, w, x, stride)
		return
	}
	var rows [QuantRows]float32
	for t := range tokens {
		amd64.RowsWideAVX512(&rows, w, x[t*stride:])
		for i, sum := range rows {
			out[i*QuantTokens+t] = sum
		}
	}
}

// oneByOne is the kernels over blocks of which all are made of Dot.
func oneByOne(dot func(w, x []byte, next *byte) float32) *Rows {
	return &Rows{Dot: dot, Dot4: dot4(dot), MatVec: func(y []float32, w []byte, rowBytes int, x []byte, ahead int) {
		for i := range y {
			y[i] = dot(w[i*rowBytes:(i+1)*rowBytes], x, aheadOf(w, i*rowBytes+ahead))
		}
	}}
}

// aheadOf is the address at bytes into w, or its last.
func aheadOf(w []byte, at int) *byte {
	if len(w) == 0 {
		return nil
	}
	return &w[min(at, len(w)-1)]
}

// withGemm is oneByOne for one row or a few tokens.
func withGemm(dot func(w, x []byte, next *byte) float32, g *Gemm) *Rows {
	k := oneByOne(dot)
	k.Gemm = g
	return k
}

// gemmAVX2 is gemmAVX512 for kernels of one panel and two tokens. zero is 0 where
// codes are signed.
func gemmAVX2(dt tensor.DType, spread func(dst *[panelChunk]byte, rows *[PanelRows][]byte, at, ahead int), multiply func(acc, w, x *byte, stride, blocks int, zero uint32), zero uint32) *Gemm {
	g := gemmAVX512(dt, spread, nil, zero)
	g.interleave, g.end = amd64.InterleaveAVX2, amd64.GemmEndAVX2
	g.multiply = func(acc, w, w2, x *byte, stride, blocks int, zero uint32, fresh bool) {
		if fresh {
			clear(unsafe.Slice(acc, 4*blockSums*blocks))
		}
		for p, w := range [2]*byte{w, w2} {
			for t := 0; t < GemmTokens; t += 2 {
				to := (t*GemmRows + p*PanelRows) * 4
				multiply((*byte)(unsafe.Add(unsafe.Pointer(acc), to)), w, (*byte)(unsafe.Add(unsafe.Pointer(x), t*stride)), stride, blocks, zero)
			}
		}
	}
	return g
}

// gemmAVX512 is the Gemm of type dt. zero is the code that stands for 0.
func gemmAVX512(dt tensor.DType, spread func(dst *[panelChunk]byte, rows *[PanelRows][]byte, at, ahead int), multiply func(acc, w, w2, x *byte, stride, blocks int, zero uint32, fresh bool), zero uint32) *Gemm {
	return &Gemm{
		dt: dt, spread: spread, interleave: amd64.InterleaveAVX512, multiply: multiply, end: amd64.GemmEndAVX512,
		zero: -zero&0xffff | -zero<<16,
	}
}

// inPairs is the kernels over blocks of type dt of which MatVec takes two rows at
// a time, one of each half of all rows. By itself a processor fetches but some lines
// ahead of one reader; two readers have twice as many lines under way.
func inPairs(dt tensor.DType, dot func(w, x []byte, next *byte) float32, four func(w, x []byte, stride int, next *byte) [4]float32, pairs func(y, y2 *float32, w, w2 *byte, rowBytes, rows int, x *byte, ahead int, rest uint16), g *Gemm) *Rows {
	k := oneByOne(dot)
	single := k.MatVec
	k.Dot4, k.Fours, k.Gemm = four, true, g
	k.two = func(y, y2 []float32, w, w2 []byte, rowBytes int, x []byte, ahead int) {
		rows, rest := together(dt, w, w2, rowBytes, len(y))
		if rows > 0 {
			pairs(&y[0], &y2[0], &w[0], &w2[0], rowBytes, rows, &x[0], ahead, rest)
		}
		single(y[rows:], w[rows*rowBytes:], rowBytes, x, ahead)
		single(y2[rows:len(y)], w2[rows*rowBytes:], rowBytes, x, ahead)
	}
	k.MatVec = func(y []float32, w []byte, rowBytes int, x []byte, ahead int) {
		half := len(y) / 2
		k.two(y[:half], y[half:], w, w[half*rowBytes:], rowBytes, x, ahead)
		single(y[2*half:], w[2*half*rowBytes:], rowBytes, x, ahead)
	}
	return k
}

// together is how many rows of either of two matrices, n at most, what takes two at a
// time can take: those of which as much can be read as of whole chunks, or of half of
// one. rest is what its assembly wants.
func together(dt tensor.DType, w, w2 []byte, rowBytes, n int) (rows int, rest uint16) {
	chunk := int(dt.RowBytes(chunkElems))
	over := rowBytes % chunk
	blocks := over / dt.BlockBytes() * dt.BlockElems() / tensor.QuantBlock
	reads := rowBytes - over
	rest = 1<<blocks - 1
	switch {
	case over > chunk/2:
		reads += chunk
	case over > 0:
		reads, rest = reads+chunk/2, rest|rest<<(chunkBlocks/2)
	}
	if room := min(len(w), len(w2)) - reads; room >= 0 && rowBytes > 0 {
		rows = min(n, room/rowBytes+1)
	}
	return rows, rest
}

// withFine is k, of rows of type dt, with Fine.
func withFine(dt tensor.DType, k *Rows, pairs func(y, y2 *float32, w, w2 *byte, rowBytes, rows int, x *byte, stride, ahead int, rest uint16)) *Rows {
	k.Fine = func(y []float32, w []byte, rowBytes int, x []byte, stride, ahead int) {
		half := len(y) / 2
		second := w[half*rowBytes:]
		rows, rest := together(dt, w, second, rowBytes, half)
		if rows > 0 {
			pairs(&y[0], &y[half], &w[0], &second[0], rowBytes, rows, &x[0], stride, ahead, rest)
		}
		one := func(i int) {
			row := w[i*rowBytes : (i+1)*rowBytes]
			y[i] = k.Dot(row, x, nil) + k.Dot(row, x[stride:], nil)
		}
		for i := rows; i < half; i++ {
			one(i)
			one(half + i)
		}
		if len(y)%2 == 1 {
			one(len(y) - 1)
		}
	}
	return k
}

// intel reports whether Intel made the processor.
func intel() bool {
	const genu, ineI, ntel = 0x756e6547, 0x49656e69, 0x6c65746e
	b, d, c := amd64.Vendor()
	return b == genu && d == ineI && c == ntel
}
