//go:build !noasm

package kernel

import "github.com/sparseflow/sparseflow/internal/kernel/amd64"

func avx2Planes() [MostPlanes]func([]byte, []int8) int32 {
	return [...]func([]byte, []int8) int32{amd64.DotU1S8AVX2, amd64.DotU2S8AVX2, amd64.DotU3S8AVX2}
}

func avx512Planes() (dot [MostPlanes]func([]byte, []int8) int32, four [MostPlanes]func([]byte, []int8, int) [4]int32) {
	return [...]func([]byte, []int8) int32{amd64.DotU1S8AVX512, amd64.DotU2S8AVX512, amd64.DotU3S8AVX512},
		[...]func([]byte, []int8, int) [4]int32{amd64.Dot4U1S8AVX512, amd64.Dot4U2S8AVX512, amd64.Dot4U3S8AVX512}
}
