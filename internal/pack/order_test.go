package pack

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// permutations is a random order for each layer.
func permutations(seed uint64, layers, ffn int) [][]int32 {
	r := rand.New(rand.NewPCG(seed, 1))
	orders := make([][]int32, layers)
	for l := range orders {
		for _, i := range r.Perm(ffn) {
			orders[l] = append(orders[l], int32(i))
		}
	}
	return orders
}

// A pack that is re-ordered, and re-ordered again, holds what it held: every
// tensor byte for byte, and every neuron at the place that the order says.
func TestReorder(t *testing.T) {
	path, c := makePack(t, smallSpec())
	before := mustOpen(t, path)
	if order, err := before.Order(0); order != nil || err != nil || before.Ordered() {
		t.Fatalf("a new pack: got order %v, %v, want none", order, err)
	}
	for seed := range uint64(3) {
		orders := permutations(seed, 2, 3)
		var done, total int64
		err := Reorder(t.Context(), path, func(l int) []int32 { return orders[l] }, func(d, all int64) { done, total = d, all })
		if err != nil {
			t.Fatal(err)
		}
		if done <= 0 || done > total {
			t.Errorf("progress: got %d of %d", done, total)
		}
		if err := Verify(t.Context(), path, nil); err != nil {
			t.Fatal(err)
		}
		p := mustOpen(t, path)
		if !p.Ordered() || p.SourceSHA256() != testSource || p.Name() != "small" {
			t.Errorf("got ordered %v, source %s, name %s", p.Ordered(), p.SourceSHA256(), p.Name())
		}
		for name, want := range c.tensors {
			if got, err := p.ReadTensor(name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got other bytes, %v", name, err)
			}
		}
		for name, want := range smallSpec().Tokenizer {
			if got, err := p.ReadTensor(tokenizerPrefix + name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
		for l, want := range orders {
			order, err := p.Order(l)
			if err != nil || !slices.Equal(order, want) {
				t.Fatalf("layer %d: got order %v, %v, want %v", l, order, err, want)
			}
			for i, id := range order {
				b, err := p.read(p.BundleOffset(l, i), p.BundleStride())
				if err != nil || !bytes.Equal(b[:p.BundleBytes()], c.bundles[[2]int{l, int(id)}]) || p.CheckBundle(l, i, b) != nil {
					t.Fatalf("layer %d, place %d: got other bytes than neuron %d's, %v", l, i, id, err)
				}
			}
		}
	}
	// Who had it open reads on.
	if b, err := before.read(before.BundleOffset(1, 2), before.BundleStride()); err != nil || before.CheckBundle(1, 2, b) != nil {
		t.Errorf("the old file: got %v, want it whole", err)
	}
}

// What cannot be done leaves the pack as it was, and nothing beside it.
func TestReorderFails(t *testing.T) {
	path, _ := makePack(t, smallSpec())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same := func(int) []int32 { return []int32{0, 1, 2} }
	ended, end := context.WithCancel(t.Context())
	end()
	p := mustOpen(t, path)
	damaged := func(at int64) []byte {
		b := slices.Clone(good)
		b[at] ^= 1
		return b
	}
	matrix, _ := p.Tensor("embed.tokens")
	for name, c := range map[string]struct {
		ctx   context.Context
		file  []byte
		order func(int) []int32
		want  string
	}{
		"too short":         {t.Context(), good, func(int) []int32 { return []int32{0, 1} }, "got an order of 2 neurons, want 3"},
		"twice":             {t.Context(), good, func(int) []int32 { return []int32{0, 1, 1} }, "got neuron 1 at place 2"},
		"none such":         {t.Context(), good, func(int) []int32 { return []int32{0, 1, 3} }, "got neuron 3 at place 2"},
		"ended":             {ended, good, same, "context canceled"},
		"a damaged bundle":  {t.Context(), damaged(p.BundleOffset(1, 1)), same, "layers.1.mlp.bundles, neuron 1"},
		"a damaged tensor":  {t.Context(), damaged(matrix.Offset), same, "embed.tokens"},
		"no pack, but text": {t.Context(), []byte("This is no pack."), same, "not a .sflow pack"},
	} {
		if err := os.WriteFile(path, c.file, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := Reorder(c.ctx, path, c.order, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.file) {
			t.Errorf("%s: the pack changed, %v", name, err)
		}
		if list := names(t, filepath.Dir(path)); len(list) != 1 {
			t.Errorf("%s: got files %v, want the pack alone", name, list)
		}
	}
}

// An order that is no permutation, under a checksum that fits, is an error of
// whoever reads it.
func TestOrderIsChecked(t *testing.T) {
	spec := smallSpec()
	spec.Ordered = true
	path := filepath.Join(t.TempDir(), "model.sflow")
	w, err := Create(path, spec)
	if err != nil {
		t.Fatal(err)
	}
	writeRandom(t, w, 1) // no order at all
	if err := w.Commit(testSource); err != nil {
		t.Fatal(err)
	}
	if _, err := mustOpen(t, path).Order(1); err == nil || !strings.Contains(err.Error(), "layers.1.mlp.order") {
		t.Errorf("got %v, want an error that names the order", err)
	}
}

// An order is a tensor a layer, and no weight.
func TestOrderedLayout(t *testing.T) {
	plain, err := smallSpec().Layout()
	if err != nil {
		t.Fatal(err)
	}
	spec := smallSpec()
	spec.Ordered = true
	ordered, err := spec.Layout()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ordered.Tensors()) - len(plain.Tensors()); n != 2 || plain.WeightBytes() != ordered.WeightBytes() {
		t.Errorf("got %d more tensors and %d bytes of weights, want one a layer and %d", n, ordered.WeightBytes(), plain.WeightBytes())
	}
}
