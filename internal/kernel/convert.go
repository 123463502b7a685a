package kernel

import "github.com/sparseflow/sparseflow/internal/tensor"

func decodeF16(dst []float32, src []uint16) {
	for k, v := range src {
		dst[k] = tensor.F16ToF32(v)
	}
}

func decodeBF16(dst []float32, src []uint16) {
	for k, v := range src {
		dst[k] = tensor.BF16ToF32(v)
	}
}

func encodeF16(dst []uint16, src []float32) {
	for k, v := range src {
		dst[k] = tensor.F32ToF16(v)
	}
}
