package lowrank

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Factors is one layer's predictor: scores = B (A x) + Bias.
type Factors struct {
	D, FFN, Rank int
	A            []float32 // [rank, d]
	B            []float32 // [ffn, rank]
	Bias         []float32 // [ffn]
}

// elem is the element type of stored factors whose rows have n elements: 8 bits,
// or float16 where blocks do not fill the rows. A score's rounding is then some
// thousandths of what a predictor's rank leaves out.
func elem(n int) tensor.DType { return tensor.Q8_0.OfRow(n) }

// FactorBytes is the size of stored factors, with a float32 bias.
func FactorBytes(d, ffn, rank int) int64 {
	return elem(d).RowBytes(d)*int64(rank) + elem(rank).RowBytes(rank)*int64(ffn) + tensor.F32.RowBytes(ffn)
}

// Bytes is the size of f once stored.
func (f Factors) Bytes() int64 { return FactorBytes(f.D, f.FFN, f.Rank) }

// Clone is f with memory of its own.
func (f Factors) Clone() Factors {
	f.A, f.B, f.Bias = slices.Clone(f.A), slices.Clone(f.B), slices.Clone(f.Bias)
	return f
}

// check says whether f's slices have the lengths that its shape wants.
func (f Factors) check(action string) error {
	switch {
	case f.D < 1 || f.FFN < 1 || f.Rank < 1:
		return fmt.Errorf("lowrank: %s: got factors with d %d, ffn %d, rank %d, want all from 1", action, f.D, f.FFN, f.Rank)
	case len(f.A) != f.Rank*f.D || len(f.B) != f.FFN*f.Rank || len(f.Bias) != f.FFN:
		return fmt.Errorf("lowrank: %s: got factors of %d, %d and %d elements, want %d x %d, %d x %d and %d",
			action, len(f.A), len(f.B), len(f.Bias), f.Rank, f.D, f.FFN, f.Rank, f.FFN)
	}
	return nil
}

// scores sets s [n, ffn] to the scores of x [n, d], by way of z [n, rank].
func (f Factors) scores(p pool, n int, x, z, s []float32) {
	p.mulT(z, x, f.A, n, f.Rank, f.D)
	p.mulT(s, z, f.B, n, f.FFN, f.Rank)
	p.each(n, func(i int) {
		row := s[i*f.FFN:][:f.FFN]
		for j, b := range f.Bias {
			row[j] += b
		}
	})
}

// round gives A and B the values that storing them keeps.
func (f Factors) round() {
	for _, m := range []struct {
		v    []float32
		cols int
	}{{f.A, f.D}, {f.B, f.Rank}} {
		row := make([]byte, elem(m.cols).RowBytes(m.cols))
		for ; len(m.v) > 0; m.v = m.v[m.cols:] {
			tensor.Encode(row, m.v[:m.cols], elem(m.cols))
			tensor.Decode(m.v[:m.cols], row, elem(m.cols))
		}
	}
}

// Tensor is a named tensor of stored factors.
type Tensor struct {
	Name  string
	DType tensor.DType
	Shape []int64
	Data  []byte
}

// The names of stored factors, each under its layer's prefix.
const (
	nameA    = "a"
	nameB    = "b"
	nameBias = "bias"
)

// Encode is f as three tensors whose names begin with prefix: A and B in Q8_0
// or float16, the bias in float32, which keeps factors from Train exactly. A
// value beyond the stored type's range is an error.
func (f Factors) Encode(prefix string) ([]Tensor, error) {
	if err := f.check("encode"); err != nil {
		return nil, err
	}
	tensors := []Tensor{
		newTensor(prefix+nameA, elem(f.D), f.Rank, f.D),
		newTensor(prefix+nameB, elem(f.Rank), f.FFN, f.Rank),
		newTensor(prefix+nameBias, tensor.F32, f.FFN),
	}
	for i, v := range [][]float32{f.A, f.B, f.Bias} {
		if k := beyond(v, tensors[i].DType); k >= 0 {
			return nil, fmt.Errorf("lowrank: encode: %s element %d: got %v, want at most %v: scale A and B alike",
				tensors[i].Name, k, v[k], largest(tensors[i].DType))
		}
		tensor.Encode(tensors[i].Data, v, tensors[i].DType)
	}
	return tensors, nil
}

func newTensor(name string, dt tensor.DType, shape ...int) Tensor {
	t := Tensor{Name: name, DType: dt}
	for _, s := range shape {
		t.Shape = append(t.Shape, int64(s))
	}
	t.Data = make([]byte, dt.RowBytes(t.elems())) // rows are whole blocks
	return t
}

// largest is the size up to which every value has a stored form: a block's
// scale is a float16 and its codes reach 127.
func largest(d tensor.DType) float64 {
	switch d {
	case tensor.F32:
		return math.MaxFloat32
	case tensor.Q8_0:
		return 65504 * 127
	}
	return 65504
}

// beyond is the index of the first value that d has no stored form for, or -1.
func beyond(v []float32, d tensor.DType) int {
	limit := largest(d)
	return slices.IndexFunc(v, func(e float32) bool { return !(math.Abs(float64(e)) <= limit) })
}

// Decode is the inverse of Encode for a layer of ffn neurons and inputs of
// length d. It finds each tensor by name with find, and takes nothing on
// trust: shapes must be the layer's, sizes the shapes', values such as
// Encode takes.
func Decode(prefix string, d, ffn int, find func(name string) (Tensor, bool)) (Factors, error) {
	f := Factors{D: d, FFN: ffn}
	t, err := findAll(prefix, d, ffn, find)
	if err != nil {
		return f, err
	}
	f.Rank = int(t.a.Shape[0])
	f.A, f.B, f.Bias = make([]float32, f.Rank*d), make([]float32, ffn*f.Rank), make([]float32, ffn)
	return f, cmp.Or(t.a.decode(0, f.A), t.b.decode(0, f.B), t.bias.decode(0, f.Bias))
}

// storedFactors are the tensors of one layer.
type storedFactors struct{ a, b, bias Tensor }

// findAll finds a layer's tensors, whose shapes and sizes are then right.
func findAll(prefix string, d, ffn int, find func(name string) (Tensor, bool)) (t storedFactors, err error) {
	if d < 1 || ffn < 1 {
		return t, fmt.Errorf("lowrank: decode: got d %d, ffn %d, want both from 1", d, ffn)
	}
	a, ok := find(prefix + nameA)
	if !ok || len(a.Shape) != 2 || a.Shape[0] < 1 || a.Shape[0] > int64(min(d, ffn)) {
		return t, fmt.Errorf("lowrank: decode: tensor %s: got shape %v, want [rank, %d] with rank 1 to %d: train again",
			prefix+nameA, a.Shape, d, min(d, ffn))
	}
	rank := int(a.Shape[0])
	for _, part := range []struct {
		want Tensor // but its data
		into *Tensor
	}{
		{Tensor{prefix + nameA, elem(d), []int64{int64(rank), int64(d)}, nil}, &t.a},
		{Tensor{prefix + nameB, elem(rank), []int64{int64(ffn), int64(rank)}, nil}, &t.b},
		{Tensor{prefix + nameBias, tensor.F32, []int64{int64(ffn)}, nil}, &t.bias},
	} {
		want := part.want
		got, ok := find(want.Name)
		if !ok {
			return t, fmt.Errorf("lowrank: decode: got no tensor %s, want one: train again", want.Name)
		}
		if size := want.DType.RowBytes(want.elems()); got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || int64(len(got.Data)) != size {
			return t, fmt.Errorf("lowrank: decode: tensor %s: got %v %v of %d bytes, want %v %v of %d: train again",
				want.Name, got.DType, got.Shape, len(got.Data), want.DType, want.Shape, size)
		}
		*part.into = got
	}
	return t, nil
}

// elems is the number of t's elements.
func (t *Tensor) elems() int {
	n := 1
	for _, s := range t.Shape {
		n *= int(s)
	}
	return n
}

// decode sets v to the elements from first on, which begins a block.
func (t *Tensor) decode(first int, v []float32) error {
	from, to := t.DType.RowBytes(first), t.DType.RowBytes(first+len(v))
	tensor.Decode(v, t.Data[from:to], t.DType)
	if i := beyond(v, t.DType); i >= 0 { // infinities and NaNs too, and the one code that only a foreign writer uses
		return fmt.Errorf("lowrank: decode: tensor %s element %d: got %v, want at most %v: train again", t.Name, first+i, v[i], largest(t.DType))
	}
	return nil
}

// check is decode of all of t, of rows of cols elements, for its error alone. A
// start checks every predictor of the model, so that a block is only decoded
// where its scale, times the farthest code, does not tell.
func (t *Tensor) check(cols int) error {
	n, blocks := cols, t.DType == tensor.Q8_0
	if blocks {
		n = tensor.QuantBlock
	}
	v := make([]float32, n)
	size := int(t.DType.RowBytes(n))
	for first := 0; first < t.elems(); first += n {
		if blocks {
			scale := tensor.F16ToF32(binary.LittleEndian.Uint16(t.Data[first/n*size:]))
			if math.Abs(float64(scale))*128 <= largest(t.DType) {
				continue
			}
		}
		if err := t.decode(first, v); err != nil {
			return err
		}
	}
	return nil
}
