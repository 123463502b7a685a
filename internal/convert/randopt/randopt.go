// Package randopt writes OPT checkpoints with random weights, of any size, for
// tests. Their outputs mean nothing, but scales are sensible: activations stay
// of order one and about a tenth of a layer's neurons fire.
package randopt

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Options says what checkpoint to write.
type Options struct {
	Profile config.ModelProfile // start from Profile
	DType   tensor.DType
	Seed    uint64
	Shards  int  // weight files; 0 or 1: one file without an index
	Bare    bool // names without the "model." prefix
}

// Profile describes an OPT model of these sizes with every other choice as
// OPT's own default.
func Profile(vocab, d, layers, heads, ffn, positions int) config.ModelProfile {
	return config.ModelProfile{
		Family: "opt", VocabSize: vocab, EmbedDim: d, HiddenSize: d, Layers: layers, Heads: heads, KVHeads: heads,
		FFN: ffn, NeuronParts: 2, MaxPositions: positions, PositionOffset: 2, Activation: config.ReLU,
		Norm: config.LayerNorm, NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true,
		Bias: true, TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2},
	}
}

// Write makes the directory dir and writes config.json and the weights there.
// The same options give the same files.
func Write(dir string, o Options) error {
	if err := write(dir, o); err != nil {
		return fmt.Errorf("randopt: write %s: %w", dir, err)
	}
	return nil
}

func write(dir string, o Options) error {
	if err := o.Profile.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	conf, err := json.MarshalIndent(transformersConfig(o), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), conf, 0o666); err != nil {
		return err
	}
	g := &generator{o: o, normal: normals(o.Seed)}
	g.model()
	shards := max(1, o.Shards)
	if shards == 1 {
		return writeFile(filepath.Join(dir, "model.safetensors"), g.tensors)
	}
	weightMap := make(map[string]string)
	for i := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		part := g.tensors[len(g.tensors)*i/shards : len(g.tensors)*(i+1)/shards]
		for _, t := range part {
			weightMap[t.Name] = name
		}
		if err := writeFile(filepath.Join(dir, name), part); err != nil {
			return err
		}
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": weightMap})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o666)
}

func writeFile(path string, tensors []source.TensorSpec) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := source.WriteSafetensors(f, map[string]string{"format": "pt"}, tensors); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func transformersConfig(o Options) map[string]any {
	p := o.Profile
	return map[string]any{
		"architectures": []string{"OPTForCausalLM"}, "model_type": "opt",
		"vocab_size": p.VocabSize, "hidden_size": p.HiddenSize, "word_embed_proj_dim": p.EmbedDim,
		"num_hidden_layers": p.Layers, "num_attention_heads": p.Heads, "ffn_dim": p.FFN,
		"max_position_embeddings": p.MaxPositions, "activation_function": string(p.Activation),
		"do_layer_norm_before": p.PreNorm, "_remove_final_layer_norm": p.PreNorm && !p.FinalNorm,
		"enable_bias": p.Bias, "layer_norm_elementwise_affine": p.NormAffine, "tie_word_embeddings": p.TiedHead,
		"bos_token_id": p.BOS, "pad_token_id": p.PAD, "eos_token_id": p.EOS,
		"torch_dtype": map[tensor.DType]string{tensor.F32: "float32", tensor.F16: "float16", tensor.BF16: "bfloat16"}[o.DType],
	}
}

// A generator lists the tensors of one checkpoint.
type generator struct {
	o       Options
	normal  []float32 // standard normal values
	tensors []source.TensorSpec
}

// normalCount is a power of two, so that 16 random bits choose one.
const normalCount = 1 << 16

func normals(seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, normalCount)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func (g *generator) model() {
	p := g.o.Profile
	d, e := p.HiddenSize, p.EmbedDim
	prefix := "model.decoder."
	if g.o.Bare {
		prefix = "decoder."
	}
	g.add(prefix+"embed_tokens.weight", 0, 0.05, p.VocabSize, e)
	g.add(prefix+"embed_positions.weight", 0, 0.05, p.MaxPositions+p.PositionOffset, d)
	if e != d {
		g.add(prefix+"project_in.weight", 0, over(1, e), d, e)
		g.add(prefix+"project_out.weight", 0, over(1, d), e, d)
	}
	if p.FinalNorm {
		g.norm(prefix + "final_layer_norm")
	}
	for i := range p.Layers {
		g.layer(fmt.Sprintf("%slayers.%d.", prefix, i))
	}
	if !p.TiedHead {
		g.add("lm_head.weight", 0, 0.05, p.VocabSize, e)
	}
}

func (g *generator) layer(prefix string) {
	p := g.o.Profile
	d, ffn := p.HiddenSize, p.FFN
	for _, name := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
		g.linear(prefix+"self_attn."+name, 0, over(1, d), d, d)
	}
	g.norm(prefix + "self_attn_layer_norm")
	// A normed input has elements of variance 1, so a pre-activation has
	// deviation 1, of which a normal variable exceeds 1.2816 once in ten times.
	g.linear(prefix+"fc1", -1.2816, over(1, d), ffn, d)
	g.linear(prefix+"fc2", 0, over(1, ffn), d, ffn)
	g.norm(prefix + "final_layer_norm")
}

// over is the deviation of weights of which n are summed, for a sum of
// deviation s.
func over(s float64, n int) float64 { return s / math.Sqrt(float64(n)) }

func (g *generator) linear(name string, bias, std float64, out, in int) {
	g.add(name+".weight", 0, std, out, in)
	if g.o.Profile.Bias {
		g.add(name+".bias", bias, 0.02, out)
	}
}

func (g *generator) norm(name string) {
	if g.o.Profile.NormAffine {
		g.add(name+".weight", 1, 0.02, g.o.Profile.HiddenSize)
		g.add(name+".bias", 0, 0.02, g.o.Profile.HiddenSize)
	}
}

// add lists a tensor of normal values, each drawn from a table as it is written.
func (g *generator) add(name string, mean, std float64, shape ...int) {
	n := 1
	dims := make([]int64, len(shape))
	for i, s := range shape {
		n *= s
		dims[i] = int64(s)
	}
	index := uint64(len(g.tensors))
	g.tensors = append(g.tensors, source.TensorSpec{
		HeaderEntry: source.HeaderEntry{Name: name, DType: g.o.DType.String(), Shape: dims, Bytes: g.o.DType.RowBytes(n)},
		Write:       func(w io.Writer) error { return g.values(w, index, n, mean, std) },
	})
}

func (g *generator) values(w io.Writer, index uint64, n int, mean, std float64) error {
	size := int(g.o.DType.RowBytes(1))
	table := make([]byte, normalCount*size)
	scaled := make([]float32, normalCount)
	for i, v := range g.normal {
		scaled[i] = float32(mean + std*float64(v))
	}
	tensor.Encode(table, scaled, g.o.DType)
	rng := rand.NewPCG(g.o.Seed, index+1)
	buf := make([]byte, 0, 1<<20)
	for n > 0 {
		r := rng.Uint64()
		for range min(4, n) {
			i := int(r&(normalCount-1)) * size
			buf = append(buf, table[i:i+size]...)
			r >>= 16
		}
		n -= min(4, n)
		if n == 0 || len(buf)+4*size > cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
