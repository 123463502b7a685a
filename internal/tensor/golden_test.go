package tensor

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
)

// Every type decodes to the bits that the gguf package for Python has
// (scripts/golden-blocks.py); any NaN is as good as another.
func TestDecodeIsGGUFs(t *testing.T) {
	f, err := os.Open("testdata/blocks.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r, seen := bufio.NewReader(z), map[DType]bool{}
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		var name string
		var blocks int
		if _, err := fmt.Sscan(line, &name, &blocks); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		d, err := ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		seen[d] = true
		src, raw := make([]byte, blocks*d.BlockBytes()), make([]byte, 4*blocks*d.BlockElems())
		if _, err := io.ReadFull(r, src); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, raw); err != nil {
			t.Fatal(err)
		}
		got, want := make([]float32, len(raw)/4), make([]float32, len(raw)/4)
		Decode(got, src, d)
		Decode(want, raw, F32)
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
				t.Errorf("%v: block %d, element %d: got %v (%#08x), want %v", d, i/d.BlockElems(), i%d.BlockElems(),
					got[i], math.Float32bits(got[i]), want[i])
				break
			}
		}
	}
	if len(seen) != DTypes {
		t.Errorf("got values of %d types, want all %d", len(seen), DTypes)
	}
}
