package bench

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Passes go over weights of the model's shape, and over each once.
func TestPasses(t *testing.T) {
	o := tinyOptions(t, "")
	p, err := pack.Open(o.Pack)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b := cpu.New(kernel.Best(), 2)
	defer b.Close()
	profile, row := p.Profile(), p.MLPDType().RowBytes(p.Profile().HiddenSize)
	layer := 2 * row * int64(profile.FFN)
	matrix := p.AttnDType().RowBytes(profile.HiddenSize) * int64(profile.HiddenSize)
	for _, c := range []struct {
		what         string
		mem          int64
		rows, layers int64
	}{
		{"more than the model", 64 << 20, 4 * int64(profile.Layers) * matrix, int64(profile.Layers) * layer},
		{"a layer and a half", 3 * p.BundleStride() * int64(profile.FFN), 0, layer},
		{"half a layer", p.BundleStride() * int64(profile.FFN), 0, layer / 2},
		{"half a matrix", partBytes, partBytes, 0},
	} {
		s := newPasses(b, make([]byte, c.mem), p.Layout, 2)
		if got := s.rows(); c.rows > 0 && got != c.rows {
			t.Errorf("%s: rows: got %d bytes, want %d", c.what, got, c.rows)
		}
		if c.layers == 0 {
			continue
		}
		if got := s.complete(); got != c.layers {
			t.Errorf("%s: complete layers: got %d bytes, want %d", c.what, got, c.layers)
		}
		if got := s.neurons(); got != c.layers {
			t.Errorf("%s: neurons: got %d bytes, want %d", c.what, got, c.layers)
		}
		var all []int32
		for range wantedOf {
			all = append(all, s.wanted()...)
			s.turn++
		}
		slices.Sort(all)
		if !slices.Equal(all, s.ids) {
			t.Errorf("%s: got %d neurons in %d turns, want each of %d once", c.what, len(all), wantedOf, len(s.ids))
		}
	}
}
