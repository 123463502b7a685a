package convert

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Narrowing is decoding and encoding, whatever the length.
func TestNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		types := rapid.SampledFrom([]tensor.DType{tensor.F32, tensor.F16, tensor.BF16})
		s, d := types.Draw(t, "from"), types.Draw(t, "to")
		v := rapid.SliceOfN(rapid.Float32Range(-1000, 1000), 0, 50).Draw(t, "values")
		for len(v) > 0 && rapid.Bool().Draw(t, "double") {
			v = append(v, v...)
		}
		src := make([]byte, s.RowBytes(len(v)))
		tensor.Encode(src, v, s)
		tensor.Decode(v, src, s)
		want := make([]byte, d.RowBytes(len(v)))
		tensor.Encode(want, v, d)
		got := make([]byte, len(want)+1)
		if err := narrow(got, d, src, s); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:len(want)], want) || got[len(want)] != 0 {
			t.Fatalf("%v to %v: got %x, want %x", s, d, got, want)
		}
	})
}

func TestNarrowErrors(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		v    float32
		d    tensor.DType
		want string
	}{
		{inf, tensor.F32, "+Inf, want finite"}, {nan, tensor.F16, "NaN, want finite"}, {-inf, tensor.BF16, "-Inf, want finite"},
		{65520, tensor.F16, "65520, which overflows F16"}, {-1e9, tensor.F16, "-1e+09, which overflows F16"},
		{math.MaxFloat32, tensor.BF16, "overflows BF16"}, {65519, tensor.F16, ""}, {1e9, tensor.BF16, ""}, {1e-30, tensor.F16, ""},
	} {
		src := make([]byte, 12)
		tensor.Encode(src, []float32{1, c.v, 2}, tensor.F32)
		err := narrow(make([]byte, 12), c.d, src, tensor.F32)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v to %v: got %v, want %q", c.v, c.d, err, c.want)
		}
	}
}

// transpose agrees with its definition and touches nothing else.
func TestTranspose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{2, 4}).Draw(t, "size")
		rows, cols := rapid.IntRange(1, 21).Draw(t, "rows"), rapid.IntRange(1, 21).Draw(t, "cols")
		srcRow := (cols + rapid.IntRange(0, 5).Draw(t, "more")) * size
		dstRow := rows*size + rapid.IntRange(0, 9).Draw(t, "gap")
		src := make([]byte, (rows-1)*srcRow+cols*size)
		for i := range src {
			src[i] = byte(i*7 + i>>8)
		}
		got := make([]byte, (cols-1)*dstRow+rows*size)
		want := make([]byte, len(got))
		for r := range rows {
			for c := range cols {
				copy(want[c*dstRow+r*size:][:size], src[r*srcRow+c*size:])
			}
		}
		transpose(got, dstRow, src, srcRow, rows, cols, size)
		if !bytes.Equal(got, want) {
			t.Fatalf("%dx%d of %d bytes: got %x, want %x", rows, cols, size, got, want)
		}
	})
}

func BenchmarkTranspose(b *testing.B) {
	const d, cols, stride = 4096, 64, 16384
	src, dst := make([]byte, d*1024), make([]byte, cols*stride)
	b.SetBytes(d * cols * 2)
	for b.Loop() {
		transpose(dst, stride, src, 1024, d, cols, 2)
	}
}
