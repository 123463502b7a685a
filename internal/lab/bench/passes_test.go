package bench

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
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

// Of a mixture of experts a pass computes a token's experts of each layer, as many as
// there is memory for, and a read at a random place brings an expert's largest part.
func TestExpertPasses(t *testing.T) {
	c, err := sparseflow.FromTransformersConfig([]byte(`{"model_type": "qwen3_moe", "vocab_size": 512, "hidden_size": 256,
		"intermediate_size": 512, "moe_intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
		"head_dim": 64, "num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": true, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
		"hidden_act": "silu", "rope_theta": 10000, "tie_word_embeddings": false, "decoder_sparse_step": 1}`), sparseflow.DefaultStrategy())
	if err != nil {
		t.Fatal(err)
	}
	layout, err := pack.Spec{
		Profile: mirror.To[config.ModelProfile](c.Profile), Attn: tensor.Q8_0, MLP: tensor.Q8_0,
		Types: map[string]tensor.DType{"layers.1.moe.experts.down": tensor.F16},
	}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	one, larger := layout.ExpertBytes(0), layout.ExpertBytes(1)
	if larger <= one {
		t.Fatalf("got experts of %d and %d bytes, want larger ones where down is float16", one, larger)
	}
	b := cpu.New(kernel.Best(), 2)
	defer b.Close()
	for mem, want := range map[int64]int64{64 << 20: 4*one + 2*larger, 2*one + larger + 5: 2*one + larger, one + 1: one} {
		s := newPasses(b, make([]byte, mem), layout, 2)
		if got, again := s.neurons(), s.complete(); got != want || again != want {
			t.Errorf("in %d bytes: got passes over %d and %d bytes, want %d", mem, got, again, want)
		}
	}
	if got, want := readUnit(layout), int64(256*512*2); got != want {
		t.Errorf("got a read of %d bytes, want %d", got, want)
	}
}
