package source

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The corners of the format, from its paper.
func TestE4M3(t *testing.T) {
	for code, want := range map[byte]float32{
		0: 0, 0x01: 0x1p-9, 0x07: 0.875 * 0x1p-6, 0x08: 0x1p-6, 0x38: 1, 0x39: 1.125, 0x7e: 448, 0xb8: -1, 0xfe: -448,
	} {
		if got := e4m3(code); got != want {
			t.Errorf("%#x: got %v, want %v", code, got, want)
		}
	}
	if x := e4m3(0x7f); x == x {
		t.Errorf("got %v, want no number", x)
	}
}

// Every element is its code times the scale of its block, rounded, in whichever pieces it is
// read.
func TestFP8(t *testing.T) {
	const m, rows, cols, blockRows, blockCols = 2, 130, 257, 2, 3
	for _, kind := range []tensor.DType{tensor.F32, tensor.BF16} {
		c, data := drawn(t,
			SafetensorsEntry{Name: "w", DType: "F8_E4M3", Shape: []int64{m, rows, cols}},
			SafetensorsEntry{Name: "s", DType: kind.String(), Shape: []int64{m, blockRows, blockCols}})
		w, _ := c.Tensor("w")
		s, _ := c.Tensor("s")
		x, err := FP8(w, s)
		if err != nil || x.Err() != nil || x.DType != tensor.BF16 || x.Bytes() != 2*m*rows*cols {
			t.Fatal(x, err)
		}
		scales := make([]float32, m*blockRows*blockCols)
		tensor.Decode(scales, data["s"], kind)
		all := make([]byte, x.Bytes())
		if n, err := x.ReadAt(all, 0); n != len(all) || err != nil && err != io.EOF {
			t.Fatal(n, err)
		}
		got := make([]float32, m*rows*cols)
		tensor.Decode(got, all, tensor.BF16)
		for i, code := range data["w"] {
			mat, row, col := i/(rows*cols), i/cols%rows, i%cols
			want := e4m3(code) * scales[(mat*blockRows+row/128)*blockCols+col/128]
			if math.Abs(float64(got[i]-want)) > math.Abs(float64(want))/(1<<8) || (got[i] == got[i]) != (want == want) {
				t.Fatalf("element %d: got %v, want %v", i, got[i], want)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			from := rapid.IntRange(0, len(all)-1).Draw(t, "from")
			p := make([]byte, rapid.IntRange(0, min(5000, len(all)-from)).Draw(t, "n"))
			if _, err := x.ReadAt(p, int64(from)); err != nil || !bytes.Equal(p, all[from:from+len(p)]) {
				t.Fatalf("got other bytes or %v", err)
			}
		})
		if _, _, inPlace := x.Place(); inPlace || x.Columns(0, 1, 1).Err() == nil {
			t.Error("got a place, or columns, of what is computed")
		}
	}
	c, _ := drawn(t, SafetensorsEntry{Name: "w", DType: "F8_E4M3", Shape: []int64{rows, cols}}, SafetensorsEntry{Name: "s", DType: "F32", Shape: []int64{1, 3}})
	w, _ := c.Tensor("w")
	s, _ := c.Tensor("s")
	if _, err := FP8(w, s); err == nil || !strings.Contains(err.Error(), `tensor "s": got scales of shape [1 3] beside weights of [130 257], want [2 3]`) {
		t.Errorf("got %v", err)
	}
	if _, err := FP8(s, w); err == nil || !strings.Contains(err.Error(), "got F32 of shape [1 3], want rows and columns of F8_E4M3") {
		t.Errorf("got %v", err)
	}
}

// Whatever a file says of weights and scales, they are joined and can be read whole,
// or are refused.
func FuzzJoined(f *testing.F) {
	for _, entries := range [][]SafetensorsEntry{
		{{Name: "b", DType: "U8", Shape: []int64{2, 3, 16}, Bytes: 96}, {Name: "s", DType: "U8", Shape: []int64{2, 3}, Bytes: 6}},
		{{Name: "b", DType: "F8_E4M3", Shape: []int64{2, 129}, Bytes: 258}, {Name: "s", DType: "F16", Shape: []int64{1, 2}, Bytes: 4}},
		{{Name: "b", DType: "F8_E4M3", Shape: []int64{0, 1 << 40}}, {Name: "s", DType: "F32", Shape: []int64{0, 1 << 33}}},
	} {
		header, err := BuildHeader(nil, entries, 8)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(header, make([]byte, entries[0].Bytes+entries[1].Bytes)...))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := Open(fstest.MapFS{"model.safetensors": {Data: file}}, "m")
		if err != nil {
			return
		}
		defer c.Close()
		weights, ok := c.Tensor("b")
		scales, ok2 := c.Tensor("s")
		if !ok || !ok2 {
			return
		}
		for _, join := range []func(a, b *Tensor) (*Tensor, error){MXFP4, FP8} {
			x, err := join(weights, scales)
			if err != nil {
				continue
			}
			if x.Bytes() > 2*int64(len(file)) {
				t.Fatalf("got %d bytes from a file of %d", x.Bytes(), len(file))
			}
			if n, err := x.ReadAt(make([]byte, x.Bytes()), 0); int64(n) != x.Bytes() || err != nil && err != io.EOF {
				t.Fatalf("read %d of %d bytes: %v", n, x.Bytes(), err)
			}
		}
	})
}
