//go:build !noasm

package kernel

import "github.com/sparseflow/sparseflow/internal/kernel/amd64"

func avx2Attention() Attention {
	return Attention{
		ScoresF32: amd64.ScoresF32AVX2, ScoresF16: amd64.ScoresF16AVX2, ScoresQ8: amd64.ScoresQ8AVX2, Scores4: amd64.Scores4AVX2,
		ValuesF32: amd64.ValuesF32AVX2, ValuesF16: amd64.ValuesF16AVX2, ValuesQ8: amd64.ValuesQ8AVX2, Values4: amd64.Values4AVX2,
		Softmax: amd64.SoftmaxAVX2,
	}
}

// avx512Attention is avx2 but where four queries share what is read: the rest
// is bound by memory, where AVX2 is the faster, or small.
func avx512Attention(avx2 Attention) Attention {
	avx2.Scores4, avx2.Values4 = amd64.Scores4AVX512, amd64.Values4AVX512
	return avx2
}
