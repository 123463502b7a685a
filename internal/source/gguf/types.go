package gguf

import (
	"fmt"
	"math/bits"
)

// Type is the number of an element type.
type Type uint32

// layout is how a type stores elements: so many bytes for a block of so many.
type layout struct {
	name            string
	elements, bytes int64
}

// types are those that ggml has (GGML_QUANT_SIZES of the gguf package for
// Python, 0.19), whether or not anything here can decode them: a file that holds
// one that nobody uses is still a good file.
var types = map[Type]layout{
	0:  {"F32", 1, 4},
	1:  {"F16", 1, 2},
	2:  {"Q4_0", 32, 18},
	3:  {"Q4_1", 32, 20},
	6:  {"Q5_0", 32, 22},
	7:  {"Q5_1", 32, 24},
	8:  {"Q8_0", 32, 34},
	9:  {"Q8_1", 32, 40},
	10: {"Q2_K", 256, 84},
	11: {"Q3_K", 256, 110},
	12: {"Q4_K", 256, 144},
	13: {"Q5_K", 256, 176},
	14: {"Q6_K", 256, 210},
	15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66},
	17: {"IQ2_XS", 256, 74},
	18: {"IQ3_XXS", 256, 98},
	19: {"IQ1_S", 256, 50},
	20: {"IQ4_NL", 32, 18},
	21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82},
	23: {"IQ4_XS", 256, 136},
	24: {"I8", 1, 1},
	25: {"I16", 1, 2},
	26: {"I32", 1, 4},
	27: {"I64", 1, 8},
	28: {"F64", 1, 8},
	29: {"IQ1_M", 256, 56},
	30: {"BF16", 1, 2},
	34: {"TQ1_0", 256, 54},
	35: {"TQ2_0", 256, 66},
	39: {"MXFP4", 32, 17},
	40: {"NVFP4", 64, 36},
	41: {"Q1_0", 128, 18},
}

// String is the type's name, or its number where it is not known.
func (t Type) String() string {
	if l, ok := types[t]; ok {
		return l.name
	}
	return fmt.Sprintf("GGUF type %d", uint32(t))
}

// bytes is the size of a tensor, 0 of a type that is not known.
func (t Type) bytes(shape []int64) (int64, error) {
	elements := uint64(1)
	for _, n := range shape {
		hi, lo := bits.Mul64(elements, uint64(n))
		if n < 0 || hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("got dimensions of %d, want a product below 2^62", shape)
		}
		elements = lo
	}
	l, ok := types[t]
	if !ok {
		return 0, nil
	}
	row := int64(1)
	if len(shape) > 0 {
		row = shape[len(shape)-1]
	}
	if row%l.elements != 0 {
		return 0, fmt.Errorf("got rows of %d elements of %v, want a multiple of %d", row, t, l.elements)
	}
	hi, lo := bits.Mul64(elements/uint64(l.elements), uint64(l.bytes))
	if hi != 0 || lo > 1<<62 {
		return 0, fmt.Errorf("got dimensions of %d, want fewer than 2^62 bytes", shape)
	}
	return int64(lo), nil
}
