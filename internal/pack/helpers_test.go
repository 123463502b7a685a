package pack

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

var testSource = strings.Repeat("0123456789abcdef", 4)

// smallProfile has every kind of tensor and as few bytes as that allows.
func smallProfile() config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: 11, EmbedDim: 4, HiddenSize: 8, Layers: 2, Heads: 2, KVHeads: 2, FFN: 3,
		NeuronParts: 2, LearnedPositions: true, MaxPositions: 5, PositionOffset: 2, Activation: config.ReLU, Norm: config.LayerNorm,
		NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true, TiedHead: false,
		BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// tinyProfile is the least model that still has bundles and a sketch.
func tinyProfile() config.ModelProfile {
	p := smallProfile()
	p.EmbedDim, p.Layers = p.HiddenSize, 1
	p.NormAffine, p.Bias, p.FinalNorm, p.TiedHead = false, false, false, true
	return p
}

// withExperts is p with experts in its last layer, and without in the others.
func withExperts(p config.ModelProfile, experts, width int) config.ModelProfile {
	p.Activation, p.NeuronParts = config.SiLU, 3
	p.Kinds = []config.LayerKind{{}, {MoE: config.MoE{Experts: experts, TopK: 1, Width: width, Router: config.Router{Kind: config.RouterSoftmax}}}}
	p.KindOf = make([]int, p.Layers)
	p.KindOf[p.Layers-1] = 1
	return p
}

func smallSpec() Spec {
	return Spec{Profile: smallProfile(), Name: "small", Attn: tensor.F16, MLP: tensor.BF16,
		Tokenizer: map[string][]byte{"vocab.json": []byte(`{"a":0}`), "merges.txt": []byte("#version: 0.2\n")}}
}

// contents are the bytes that a test pack was made of.
type contents struct {
	tensors map[string][]byte
	bundles map[[2]int][]byte // by layer and neuron, without padding
	experts map[[2]int][]byte // by layer and expert, likewise
}

// writeRandom fills a pack with random bytes, parts in random order.
func writeRandom(t testing.TB, w *Writer, seed uint64) contents {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	c := contents{map[string][]byte{}, map[[2]int][]byte{}, map[[2]int][]byte{}}
	random := func(n int64) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	var parts []func() error
	for _, x := range w.Tensors() {
		if x.Kind == Tokenizer {
			continue
		}
		b := random(x.Bytes())
		c.tensors[x.Name] = b
		for i := range x.Blocks() {
			row, rows := x.Block(i)
			parts = append(parts, func() error {
				return w.WriteBlock(x, i, b[int64(row)*x.RowBytes:int64(row+rows)*x.RowBytes])
			})
		}
	}
	used := w.profile.BundleBytes(w.mlp)
	for layer := range w.profile.Layers {
		for i := 0; i < w.profile.BundledNeurons(); {
			n := 1 + rng.IntN(w.profile.FFN-i)
			b := make([]byte, int64(n)*w.BundleStride())
			for k := range n {
				bundle := random(used)
				copy(b[int64(k)*w.BundleStride():], bundle)
				c.bundles[[2]int{layer, i + k}] = bundle
			}
			first := i
			parts = append(parts, func() error { return w.WriteBundles(layer, first, b) })
			i += n
		}
		for e := range w.profile.MoE(layer).Experts {
			b := random(w.ExpertBytes(layer))
			c.experts[[2]int{layer, e}] = b
			cut := rng.IntN(len(b))
			parts = append(parts, func() error {
				x, err := w.Expert(layer, e)
				if err != nil {
					return err
				}
				if _, err := x.Write(b[:cut]); err != nil {
					return err
				}
				if _, err := x.Write(b[cut:]); err != nil {
					return err
				}
				return x.Close()
			})
		}
	}
	rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, p := range parts {
		if err := p(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// makePack writes a complete random pack and returns its path.
func makePack(t testing.TB, spec Spec) (path string, c contents) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model.sflow")
	w, err := Create(path, spec)
	if err != nil {
		t.Fatal(err)
	}
	c = writeRandom(t, w, 1)
	if err := w.Commit(testSource); err != nil {
		t.Fatal(err)
	}
	return path, c
}

func mustOpen(t testing.TB, path string) *Pack {
	t.Helper()
	p, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// names lists a directory.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
