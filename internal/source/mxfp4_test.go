package source

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// drawn opens a checkpoint of these entries, of random bytes, which it returns by name.
func drawn(t *testing.T, entries ...SafetensorsEntry) (*Checkpoint, map[string][]byte) {
	t.Helper()
	for i := range entries {
		entries[i].Bytes, _ = shapeBytes(entries[i].Shape, dtypeBits(entries[i].DType))
	}
	file, err := BuildHeader(nil, entries, 8)
	if err != nil {
		t.Fatal(err)
	}
	r, data := rand.New(rand.NewPCG(1, 2)), map[string][]byte{}
	for _, e := range entries {
		b := make([]byte, e.Bytes)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		data[e.Name] = b
		file = append(file, b...)
	}
	c, err := Open(fstest.MapFS{"model.safetensors": {Data: file}}, "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, data
}

// Blocks and scales are the numbers that their makers say, in whichever pieces they
// are read.
func TestMXFP4(t *testing.T) {
	c, data := drawn(t,
		SafetensorsEntry{Name: "blocks", DType: "U8", Shape: []int64{2, 3, 4, 16}},
		SafetensorsEntry{Name: "scales", DType: "U8", Shape: []int64{2, 3, 4}})
	blocks, _ := c.Tensor("blocks")
	scales, _ := c.Tensor("scales")
	x, err := MXFP4(blocks, scales)
	if err != nil || x.Err() != nil {
		t.Fatal(err, x.Err())
	}
	if got := x.Shape; len(got) != 3 || got[2] != 128 || x.Bytes() != 24*17 {
		t.Fatalf("got shape %v of %d bytes, want rows of 128 in %d", got, x.Bytes(), 24*17)
	}
	all := make([]byte, x.Bytes())
	if n, err := x.ReadAt(all, 0); n != len(all) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	got := make([]float32, 24*32)
	tensor.Decode(got, all, tensor.MXFP4)
	values := []float64{0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6}
	for i, g := range got {
		code := data["blocks"][i/2] >> (i % 2 * 4) & 15
		want := float32(values[code] * math.Pow(2, float64(data["scales"][i/32])-127))
		if g != want {
			t.Fatalf("element %d: got %v, want %v", i, g, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(all)-1).Draw(t, "from")
		p := make([]byte, rapid.IntRange(0, len(all)-from).Draw(t, "n"))
		if _, err := x.ReadAt(p, int64(from)); err != nil || !bytes.Equal(p, all[from:from+len(p)]) {
			t.Fatalf("got other bytes or %v", err)
		}
	})
	if _, _, inPlace := x.Place(); inPlace {
		t.Error("got a place of what is laid out otherwise")
	}
}

func TestMXFP4Errors(t *testing.T) {
	c, _ := drawn(t,
		SafetensorsEntry{Name: "blocks", DType: "U8", Shape: []int64{2, 4, 16}},
		SafetensorsEntry{Name: "few", DType: "U8", Shape: []int64{2, 3}},
		SafetensorsEntry{Name: "half", DType: "U8", Shape: []int64{2, 4, 8}},
		SafetensorsEntry{Name: "signed", DType: "I8", Shape: []int64{2, 4}},
		SafetensorsEntry{Name: "one", DType: "U8", Shape: nil})
	for _, names := range [][3]string{
		{"blocks", "few", `tensor "few": got scales of shape [2 3] beside blocks of [2 4 16]`},
		{"half", "signed", "want one for each block of 16"},
		{"blocks", "signed", `tensor "signed": got element type "I8", want U8`},
		{"blocks", "one", "got scales of shape []"},
	} {
		blocks, _ := c.Tensor(names[0])
		scales, _ := c.Tensor(names[1])
		if _, err := MXFP4(blocks, scales); err == nil || !strings.Contains(err.Error(), names[2]) {
			t.Errorf("%v: got %v", names[:2], err)
		}
	}
}

// A tensor with rows and columns exchanged, or some of its columns or rows, is its
// elements in another order.
func TestExchanged(t *testing.T) {
	const a, b, n = 3, 5, 6
	c, data := drawn(t, SafetensorsEntry{Name: "wide", DType: "F64", Shape: []int64{2, n}}, SafetensorsEntry{Name: "x", DType: "F32", Shape: []int64{a, b, n}})
	x, _ := c.Tensor("x")
	at := func(i, j, k int) uint32 { return binary.LittleEndian.Uint32(data["x"][4*((i*b+j)*n+k):]) }
	read := func(x *Tensor) (all []uint32) {
		t.Helper()
		raw := make([]byte, x.Bytes())
		if m, err := x.ReadAt(raw, 0); m != len(raw) || err != nil && err != io.EOF {
			t.Fatal(m, err)
		}
		for ; len(raw) > 0; raw = raw[4:] {
			all = append(all, binary.LittleEndian.Uint32(raw))
		}
		return all
	}
	got, i := read(x.Transposed()), 0
	for p := range a {
		for q := range n {
			for r := range b {
				if got[i] != at(p, r, q) {
					t.Fatalf("exchanged: got another element at %d %d %d", p, q, r)
				}
				i++
			}
		}
	}
	got, i = read(x.Columns(1, 2, 3)), 0
	for p := range a {
		for q := range b {
			for r := range 3 {
				if got[i] != at(p, q, 1+2*r) {
					t.Fatalf("columns: got another element at %d %d %d", p, q, r)
				}
				i++
			}
		}
	}
	if i != len(got) {
		t.Errorf("got %d elements, want %d", len(got), i)
	}
	for name, pair := range map[string][2]*Tensor{
		"as they lie": {x.Rows(1, 2), x}, "exchanged": {x.Transposed().Rows(1, 2), x.Transposed()},
	} {
		if got, all := read(pair[0]), read(pair[1]); !slices.Equal(got, all[len(all)/3:]) {
			t.Errorf("rows %s: got other elements", name)
		}
	}
	if _, at, ok := x.Rows(2, 1).Place(); !ok || at != x.off+4*2*b*n {
		t.Errorf("got rows at %d, %v, want them where they lie", at, ok)
	}
	wide, _ := c.Tensor("wide")
	if got, all := read(wide.Rows(1, 1)), read(wide); !slices.Equal(got, all[len(all)/2:]) {
		t.Error("rows of F64: got other elements")
	}
	for _, bad := range []*Tensor{x.Columns(0, 2, 4), x.Columns(-1, 1, 1), x.Columns(0, 1, 0), x.Rows(2, 2), x.Rows(-1, 1), x.Rows(0, 0)} {
		if bad.Err() == nil {
			t.Error("got no error of columns or rows that are not there")
		}
	}
}
