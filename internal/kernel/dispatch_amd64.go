//go:build !noasm

package kernel

import (
	"golang.org/x/sys/cpu"

	"github.com/sparseflow/sparseflow/internal/kernel/amd64"
)

// All returns every set that this machine can run, the best last; the first is
// Go.
func All() []Set {
	all := []Set{Go()}
	// The AVX2 kernels convert and fuse, so they need all three.
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return all
	}
	avx2 := Set{
		Name:       "avx2",
		DotF32:     amd64.DotF32AVX2,
		DotF16:     amd64.DotF16AVX2,
		DotBF16:    amd64.DotBF16AVX2,
		Dot4F32:    amd64.Dot4F32AVX2,
		Dot4F16:    amd64.Dot4F16AVX2,
		Dot4BF16:   amd64.Dot4BF16AVX2,
		MatVecF32:  amd64.MatVecF32AVX2,
		MatVecF16:  amd64.MatVecF16AVX2,
		MatVecBF16: amd64.MatVecBF16AVX2,
		PanelRow:   amd64.PanelRowAVX2,
		TileF32:    amd64.TileF32AVX2,
		TileF16:    amd64.TileF16AVX2,
		TileBF16:   amd64.TileBF16AVX2,
		RowsF32:    rowsOf(amd64.DotF32AVX2),
		RowsF16:    rowsOf(amd64.DotF16AVX2),
		RowsBF16:   rowsOf(amd64.DotBF16AVX2),
		Outer:      amd64.OuterAVX2,
		OuterAt:    amd64.OuterAtAVX2,
		AxpyF32:    amd64.AxpyF32AVX2,
		AxpyF16:    amd64.AxpyF16AVX2,
		AxpyBF16:   amd64.AxpyBF16AVX2,
		Axpy4F32:   amd64.Axpy4F32AVX2,
		Axpy4F16:   amd64.Axpy4F16AVX2,
		Axpy4BF16:  amd64.Axpy4BF16AVX2,
		DotU4S8:    amd64.DotU4S8AVX2,
		Dot4U4S8:   fourSketches(amd64.DotU4S8AVX2),
		QuantizeS8: quantizer(amd64.AbsMaxBitsAVX2, amd64.RoundS8AVX2),
		QuantizeX:  quantizeXBy(amd64.QuantizeBlocksAVX2),
		DotQ8:      amd64.DotQ8AVX2,
		DotQ4:      amd64.DotQ4AVX2,
		Dot4Q8:     amd64.Dot4Q8AVX2,
		Dot4Q4:     amd64.Dot4Q4AVX2,
		WidenQ8:    amd64.WidenQ8AVX2,
		WidenQ4:    amd64.WidenQ4AVX2,
		TileQ8:     amd64.TileQ8AVX2,
		TileQ4:     amd64.TileQ4AVX2,
		RowsQ8:     amd64.RowsQ8AVX2,
		RowsQ4:     amd64.RowsQ4AVX2,
		AxpyQ8:     amd64.AxpyQ8AVX2,
		AxpyQ4:     amd64.AxpyQ4AVX2,
		PairsQ8:    amd64.PairsQ8AVX2,
		PairsQ4:    amd64.PairsQ4AVX2,
		OuterPairs: amd64.OuterPairsAVX2,
		MatVecQ8:   amd64.MatVecQ8AVX2,
		MatVecQ4:   amd64.MatVecQ4AVX2,
		Axpy4Q8:    amd64.Axpy4Q8AVX2,
		Axpy4Q4:    amd64.Axpy4Q4AVX2,
		DecodeF16:  amd64.DecodeF16AVX2,
		DecodeBF16: amd64.DecodeBF16AVX2,
		EncodeF16:  amd64.EncodeF16AVX2,
		EncodeBF16: amd64.EncodeBF16AVX2,
		Load:       amd64.LoadAVX2,
		LoadNext:   amd64.LoadNextAVX2,
		Attention:  avx2Attention(),

		DotPlanesS8:  avx2Planes(),
		Dot4PlanesS8: fourPlanes(avx2Planes()),
	}
	all = append(all, avx2)
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512VL {
		return all
	}
	// What converts runs once a token or only when packing.
	avx512 := avx2
	avx512.Name = "avx512"
	avx512.Dot4F32 = amd64.Dot4F32AVX512
	avx512.Dot4F16 = amd64.Dot4F16AVX512
	avx512.Dot4BF16 = amd64.Dot4BF16AVX512
	avx512.PanelRow = amd64.PanelRowAVX512
	avx512.TileF32 = amd64.TileF32AVX512
	avx512.TileF16 = amd64.TileF16AVX512
	avx512.TileBF16 = amd64.TileBF16AVX512
	avx512.RowsF32 = amd64.RowsF32AVX512
	avx512.RowsF16 = amd64.RowsF16AVX512
	avx512.RowsBF16 = amd64.RowsBF16AVX512
	avx512.Outer = amd64.OuterAVX512
	avx512.OuterAt = amd64.OuterAtAVX512
	avx512.Load = amd64.LoadAVX512
	avx512.AxpyQ4 = amd64.AxpyQ4AVX512
	avx512.PairsQ8, avx512.PairsQ4 = amd64.PairsQ8AVX512, amd64.PairsQ4AVX512
	avx512.OuterPairs = amd64.OuterPairsAVX512
	avx512.Axpy4Q8, avx512.Axpy4Q4 = amd64.Axpy4Q8AVX512, amd64.Axpy4Q4AVX512
	avx512.Attention = avx512Attention(avx2.Attention)
	if cpu.X86.HasAVX512VNNI {
		avx512.DotU4S8 = amd64.DotU4S8AVX512
		avx512.Dot4U4S8 = amd64.Dot4U4S8AVX512
		avx512.DotPlanesS8, avx512.Dot4PlanesS8 = avx512Planes()
		avx512.DotQ8, avx512.DotQ4 = amd64.DotQ8AVX512, amd64.DotQ4AVX512
		avx512.Dot4Q8, avx512.Dot4Q4 = amd64.Dot4Q8AVX512, amd64.Dot4Q4AVX512
		avx512.WidenQ8, avx512.WidenQ4 = amd64.WidenQ8AVX512, amd64.WidenQ4AVX512
		avx512.TileQ8, avx512.TileQ4 = amd64.TileWideAVX512, amd64.TileWideAVX512
		avx512.RowsQ8, avx512.RowsQ4 = amd64.RowsWideAVX512, amd64.RowsWideAVX512
		avx512.MatVecQ8, avx512.MatVecQ4 = amd64.MatVecQ8AVX512, amd64.MatVecQ4AVX512
	}
	// Single rows are bound by memory. An EPYC (Zen 4), whose registers of 512 bits
	// are two halves to it, reads faster by AVX2; a Xeon by AVX-512.
	wide := avx512
	wide.Name = "avx512-wide"
	wide.Attention = wideAttention(avx512.Attention)
	wide.DotF32, wide.MatVecF32 = amd64.DotF32AVX512, amd64.MatVecF32AVX512
	wide.DotF16, wide.MatVecF16 = amd64.DotF16AVX512, amd64.MatVecF16AVX512
	wide.DotBF16, wide.MatVecBF16 = amd64.DotBF16AVX512, amd64.MatVecBF16AVX512
	wide.AxpyF32, wide.Axpy4F32 = amd64.AxpyF32AVX512, amd64.Axpy4F32AVX512
	wide.AxpyF16, wide.Axpy4F16 = amd64.AxpyF16AVX512, amd64.Axpy4F16AVX512
	wide.AxpyBF16, wide.Axpy4BF16 = amd64.AxpyBF16AVX512, amd64.Axpy4BF16AVX512
	wide.Axpy4Q4 = amd64.Axpy4Q4NearAVX512
	if intel() {
		return append(all, avx512, wide)
	}
	return append(all, wide, avx512)
}

func init() {
	if intel() {
		// Two threads of a Xeon, rows in order: float16 29 GB/s from 8 KiB ahead,
		// 30.5 from 3 KiB and 28 from 1.5.
		amd64.Ahead = 3 << 10
	}
}

// intel reports whether Intel made the processor.
func intel() bool {
	const genu, ineI, ntel = 0x756e6547, 0x49656e69, 0x6c65746e
	b, d, c := amd64.Vendor()
	return b == genu && d == ineI && c == ntel
}
