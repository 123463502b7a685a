package tensor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
)

// golden is a file that scripts/golden-blocks.py made.
type golden struct {
	t *testing.T
	r *bufio.Reader
}

func openGolden(t *testing.T, name string) golden {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return golden{t, bufio.NewReader(z)}
}

// next reads the line before a section; ok is false at the end.
func (g golden) next() (name string, n int, ok bool) {
	g.t.Helper()
	line, err := g.r.ReadString('\n')
	if err == io.EOF {
		return "", 0, false
	}
	if _, err := fmt.Sscan(line, &name, &n); err != nil {
		g.t.Fatalf("line %q: %v", line, err)
	}
	return name, n, true
}

func (g golden) bytes(n int64) []byte {
	g.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(g.r, b); err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g golden) floats(n int) []float32 {
	v := make([]float32, n)
	Decode(v, g.bytes(int64(4*n)), F32)
	return v
}

// Every type decodes to the bits that the gguf package for Python has; any NaN
// is as good as another.
func TestDecodeIsGGUFs(t *testing.T) {
	g, seen := openGolden(t, "blocks.gz"), map[DType]bool{}
	for name, blocks, ok := g.next(); ok; name, blocks, ok = g.next() {
		d, err := ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		seen[d] = true
		n := blocks * d.BlockElems()
		src, got := g.bytes(d.RowBytes(n)), make([]float32, n)
		Decode(got, src, d)
		for i, want := range g.floats(n) {
			if math.Float32bits(got[i]) != math.Float32bits(want) && !(got[i] != got[i] && want != want) {
				t.Errorf("%v: block %d, element %d: got %v (%#08x), want %v", d, i/d.BlockElems(), i%d.BlockElems(),
					got[i], math.Float32bits(got[i]), want)
				break
			}
		}
	}
	if len(seen) != DTypes {
		t.Errorf("got values of %d types, want all %d", len(seen), DTypes)
	}
}

// Simple blocks are those that ggml makes; super blocks, whose scales are found
// by a search, are nowhere over 1 % further from the weights than its are.
func TestEncodeIsAsGoodAsGGML(t *testing.T) {
	g := openGolden(t, "encoded.gz")
	for name, n, ok := g.next(); ok; name, n, ok = g.next() {
		x := g.floats(n)
		for _, d := range []DType{Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K} {
			theirs, ours := g.bytes(d.RowBytes(n)), make([]byte, d.RowBytes(n))
			Encode(ours, x, d)
			if d.BlockElems() == QuantBlock && !bytes.Equal(ours, theirs) {
				t.Errorf("%s weights: %v: got other blocks than ggml", name, d)
			}
			if got, want := rms(x, ours, d), rms(x, theirs, d); got > 1.01*want {
				t.Errorf("%s weights: %v: got an error of %.4g, want %.4g as ggml or 1 %% more", name, d, got, want)
			}
		}
	}
}

// rms is how far what is stored is from x.
func rms(x []float32, stored []byte, d DType) float64 {
	y := make([]float32, len(x))
	Decode(y, stored, d)
	sum := 0.0
	for i := range x {
		sum += math.Pow(float64(x[i]-y[i]), 2)
	}
	return math.Sqrt(sum / float64(len(x)))
}
