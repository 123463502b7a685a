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
// is bound by memory, where AVX2 is the faster (but see wideAttention), or small.
func avx512Attention(avx2 Attention) Attention {
	avx2.Scores4, avx2.Values4 = amd64.Scores4AVX512, amd64.Values4AVX512
	return avx2
}

// wideAttention is a with all of AVX-512.
func wideAttention(a Attention) Attention {
	a.ScoresF32, a.ScoresF16, a.ScoresQ8 = amd64.ScoresF32AVX512, amd64.ScoresF16AVX512, amd64.ScoresQ8AVX512
	a.ValuesF32, a.ValuesF16, a.ValuesQ8 = amd64.ValuesF32AVX512, amd64.ValuesF16AVX512, amd64.ValuesQ8AVX512
	return a
}
