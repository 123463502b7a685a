package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A file has the header that the format demands, every tensor aligned, and the
// length that they add up to.
func TestFile(t *testing.T) {
	s := shape{vocab: 300, d: 64, layers: 2, heads: 4, ffn: 96, context: 16}
	for _, name := range []string{"f16", "q8_0", "q4_0"} {
		k, err := tensor.ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := &writer{to: &b}
		w.file(s, k)
		if w.err != nil || w.at != int64(b.Len()) {
			t.Fatalf("%s: got %d bytes, %v, want %d", name, w.at, w.err, b.Len())
		}
		head := b.Bytes()
		if string(head[:4]) != "GGUF" || binary.LittleEndian.Uint32(head[4:]) != 3 || int(binary.LittleEndian.Uint64(head[8:])) != len(s.tensors(k)) {
			t.Errorf("%s: got header % x", name, head[:16])
		}
		data := int64(0)
		for _, x := range s.tensors(k) {
			data += (x.bytes() + alignment - 1) / alignment * alignment
		}
		if at := w.at - data; at%alignment != 0 || at < 1000 {
			t.Errorf("%s: tensors start at %d, want a multiple of %d", name, at, alignment)
		}
		// The last tensor is a bias of d values, the last before it a matrix.
		last := head[w.at-int64(4*s.d):]
		if v := math.Float32frombits(binary.LittleEndian.Uint32(last)); v == 0 || math.Abs(float64(v)) > 0.2 {
			t.Errorf("%s: got a bias of %v, want one of deviation 0.02", name, v)
		}
	}
}

func TestRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	good := shape{300, 64, 2, 4, 96, 16}
	if err := run(good, "f16", path); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*shape){
		func(s *shape) { s.d = 65 }, func(s *shape) { s.heads = 3 }, func(s *shape) { s.heads = 0 },
		func(s *shape) { s.ffn = 0 }, func(s *shape) { s.layers = 0 },
	} {
		s := good
		change(&s)
		if err := run(s, "f16", path); err == nil {
			t.Errorf("%+v: got no error", s)
		}
	}
	for _, bad := range []string{"q5_0", "f32"} {
		if err := run(good, bad, path); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
	if n := len(vocabulary(300)); n != 300 {
		t.Errorf("got %d tokens, want 300", n)
	}
}
