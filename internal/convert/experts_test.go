package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/twin"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// randomMoE is a checkpoint of drawn weights with experts, whose output means nothing.
type randomMoE struct {
	form                           string // each, mixed, fused, columns, blocks, fp8
	d, layers, experts, width, top int
	dtype                          tensor.DType
}

// inPlace tells whether a model of the form needs no pack.
func (o randomMoE) inPlace() bool { return o.form == "each" || o.form == "fused" }

// write makes the directory dir of it.
func (o randomMoE) write(tb testing.TB, dir string) {
	tb.Helper()
	config := map[string]any{
		"model_type": "qwen3_moe", "vocab_size": 20, "hidden_size": o.d, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
		"num_hidden_layers": o.layers, "intermediate_size": o.width, "moe_intermediate_size": o.width, "num_experts": o.experts,
		"num_experts_per_tok": o.top, "bos_token_id": nil, "eos_token_id": nil, "max_position_embeddings": 32,
	}
	if o.form == "fp8" {
		config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{128, 128}}
	}
	if o.form == "columns" || o.form == "blocks" {
		config["model_type"], config["attention_bias"] = "gpt_oss", false
	}
	b, err := json.Marshal(config)
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), b, 0o666)
	}
	if err != nil {
		tb.Fatal(err)
	}
	writeShard(tb, filepath.Join(dir, "model.safetensors"), o.tensors())
}

func (o randomMoE) tensors() (list []drawnTensor) {
	add := func(name string, dtype tensor.DType, shape ...int64) {
		n, seed := int64(1), uint64(len(list))
		for _, s := range shape {
			n *= s
		}
		list = append(list, drawnTensor{
			source.SafetensorsEntry{Name: name, DType: dtype.String(), Shape: shape, Bytes: dtype.RowBytes(int(n))},
			func(w io.Writer) error { return randomOPT{dtype: dtype}.values(w, seed, int(n)) },
		})
	}
	// Bytes from low on, below high.
	raw := func(name, dtype string, low, high int, shape ...int64) {
		n, seed := int64(1), uint64(len(list))
		for _, s := range shape {
			n *= s
		}
		list = append(list, drawnTensor{source.SafetensorsEntry{Name: name, DType: dtype, Shape: shape, Bytes: n}, func(w io.Writer) error {
			rng, b := rand.New(rand.NewPCG(4, seed)), make([]byte, n)
			for i := range b {
				b[i] = byte(low + rng.IntN(high-low))
			}
			_, err := w.Write(b)
			return err
		}})
	}
	matrix := func(name string, dtype tensor.DType, shape []int64) {
		if o.form != "fp8" {
			add(name, dtype, shape...)
			return
		}
		raw(name, "F8_E4M3", 0, 120, shape...)
		add(name+"_scale_inv", tensor.F32, (shape[0]+127)/128, (shape[1]+127)/128)
	}
	d, e, width := int64(o.d), int64(o.experts), int64(o.width)
	add("model.embed_tokens.weight", o.dtype, 20, d)
	add("model.norm.weight", o.dtype, d)
	add("lm_head.weight", o.dtype, 20, d)
	for l := range o.layers {
		at := fmt.Sprintf("model.layers.%d.", l)
		for _, name := range []string{"input_layernorm", "post_attention_layernorm"} {
			add(at+name+".weight", o.dtype, d)
		}
		for name, shape := range map[string][]int64{"q": {16, d}, "k": {8, d}, "v": {8, d}, "o": {d, 16}} {
			matrix(at+"self_attn."+name+"_proj.weight", o.dtype, shape)
		}
		experts := at + "mlp.experts."
		if o.form == "columns" || o.form == "blocks" {
			add(at+"self_attn.sinks", o.dtype, 2)
			add(at+"mlp.router.weight", o.dtype, e, d)
			add(at+"mlp.router.bias", o.dtype, e)
			add(experts+"gate_up_proj_bias", o.dtype, e, 2*width)
			add(experts+"down_proj_bias", o.dtype, e, d)
		} else {
			add(at+"self_attn.q_norm.weight", o.dtype, 8)
			add(at+"self_attn.k_norm.weight", o.dtype, 8)
			add(at+"mlp.gate.weight", o.dtype, e, d)
		}
		switch o.form {
		case "each", "mixed", "fp8":
			for i := range o.experts {
				dtype := o.dtype
				if o.form == "mixed" && i == 1 {
					dtype = tensor.F32
				}
				for name, shape := range map[string][]int64{"gate": {width, d}, "up": {width, d}, "down": {d, width}} {
					matrix(fmt.Sprintf("%s%d.%s_proj.weight", experts, i, name), dtype, shape)
				}
			}
		case "fused":
			add(experts+"gate_up_proj", o.dtype, e, 2*width, d)
			add(experts+"down_proj", o.dtype, e, d, width)
		case "columns":
			add(experts+"gate_up_proj", o.dtype, e, d, 2*width)
			add(experts+"down_proj", o.dtype, e, width, d)
		case "blocks":
			raw(experts+"gate_up_proj_blocks", "U8", 0, 256, e, 2*width, d/32, 16)
			raw(experts+"gate_up_proj_scales", "U8", 118, 126, e, 2*width, d/32)
			raw(experts+"down_proj_blocks", "U8", 0, 256, e, d, width/32, 16)
			raw(experts+"down_proj_scales", "U8", 118, 126, e, d, width/32)
		}
	}
	return list
}

// checkExperts compares a layer's experts with the rows that a mapping has of them.
func checkExperts(t *testing.T, p *pack.Pack, from arch.Experts, layer int) {
	t.Helper()
	held := map[*source.Tensor][]float32{}
	var file bytes.Buffer
	for _, f := range p.Files() {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(make([]byte, f.Start-int64(file.Len())))
		file.Write(b)
	}
	for part, x := range p.ExpertParts(layer) {
		for e, s := range from.Parts[part] {
			if held[s.Tensor] == nil {
				held[s.Tensor] = values(t, s.Tensor)
			}
			var want []byte
			for i := range int64(x.Rows) {
				row := held[s.Tensor][(s.First+i*s.Step)*int64(x.Cols):][:x.Cols]
				if x.DType == tensor.MXFP4 { // not encoded anew: the same values may have other codes
					want = append(want, encoded(row, tensor.F32)...)
				} else {
					want = append(want, encoded(row, x.DType)...)
				}
			}
			got := file.Bytes()[p.ExpertOffset(layer, part, e):][:x.Bytes()]
			if x.DType == tensor.MXFP4 {
				v := make([]float32, x.Rows*x.Cols)
				tensor.Decode(v, got, x.DType)
				got = encoded(v, tensor.F32)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("layer %d, part %d of expert %d: got other weights than the checkpoint's", layer, part, e)
			}
		}
	}
}

// Experts in whatever form become one piece each, in any type; where they lie row
// after row in one type they are used there.
func TestExperts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := randomMoE{
			form: rapid.SampledFrom([]string{"each", "mixed", "fused", "columns", "blocks", "fp8"}).Draw(rt, "form"),
			d:    32 * rapid.IntRange(1, 3).Draw(rt, "d"), width: 32 * rapid.IntRange(1, 3).Draw(rt, "width"),
			layers: rapid.IntRange(1, 2).Draw(rt, "layers"), experts: rapid.IntRange(2, 5).Draw(rt, "experts"), top: 1,
			dtype: rapid.SampledFrom([]tensor.DType{tensor.F32, tensor.F16, tensor.BF16}).Draw(rt, "dtype"),
		}
		if o.form == "mixed" {
			o.dtype = tensor.BF16
		}
		if o.form != "blocks" && rapid.Bool().Draw(rt, "odd") {
			o.width += 7 // no blocks fill down's rows
		}
		quant := rapid.SampledFrom([]Quant{Keep, F16, Q8_0, "q4_k_m", F32, "q5_1"}).Draw(rt, "quant")
		dir := filepath.Join(t.TempDir(), "m")
		o.write(t, dir)
		path := filepath.Join(t.TempDir(), "m.sflow")
		if _, err := Convert(t.Context(), os.DirFS(dir), dir, path, Options{Attn: quant, MLP: quant}); err != nil {
			rt.Fatal(err)
		}
		checkPack(t, dir, path)
		p, err := pack.Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer p.Close()
		stored := o.dtype
		switch {
		case o.form == "mixed":
			stored = tensor.F32
		case o.form == "fp8":
			stored = tensor.BF16
		case o.form == "blocks":
			stored = tensor.MXFP4
		}
		if got := p.ExpertParts(0)[0].DType; quant == Keep && got != stored {
			rt.Errorf("got experts of %v kept as %v", stored, got)
		}
		if router, _ := p.Tensor("layers.0.moe.router.weight"); router.Elem != tensor.F32 {
			rt.Errorf("got a router of %v, want F32 whatever the rest", router.Elem)
		}
		checkInPlace(t, hub.Source{Kind: hub.Checkpoint, Name: "m", Path: dir, FS: os.DirFS(dir)}, o.inPlace())
	})
}

// checkInPlace opens a model that may be used in place, as want says, and compares its
// experts there.
func checkInPlace(t *testing.T, src hub.Source, want bool) {
	t.Helper()
	p, s, err := openPlace(src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if (p != nil) != want {
		t.Fatalf("%s: got it used in place: %v, want %v", src.Path, p != nil, want)
	}
	if p == nil {
		if err := s.ckpt.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	defer p.Close()
	if s, err = openSource(src); err != nil {
		t.Fatal(err)
	}
	defer s.ckpt.Close()
	for i, x := range s.tensors.Experts {
		checkExperts(t, p, x, i)
	}
}

// The golden checkpoints with experts are used in place but for gpt-oss's, whose rows
// of gate and up take turns; all can be packed.
func TestGoldenExperts(t *testing.T) {
	for _, name := range []string{"qwen3-moe", "qwen2-moe", "olmoe", "mixtral", "gpt-oss", "glm4-moe", "minimax-m2"} {
		t.Run(name, func(t *testing.T) {
			dir, ok := twin.Checkpoint("../..", name)
			if !ok {
				t.Skipf("no golden checkpoint %s beside the repository", name)
			}
			checkInPlace(t, hub.Source{Kind: hub.Checkpoint, Name: name, Path: dir, FS: os.DirFS(dir)}, name != "gpt-oss")
			for _, o := range []Options{{}, {Attn: F32, MLP: Q8_0}} {
				path := filepath.Join(t.TempDir(), "m.sflow")
				if _, err := Convert(t.Context(), os.DirFS(dir), dir, path, o); err != nil {
					t.Fatal(err)
				}
				checkPack(t, dir, path)
			}
		})
	}
}

// A weight that no type holds is told with its expert.
func TestBadExpert(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "m"), t.TempDir()
	randomMoE{form: "fused", d: 32, layers: 2, experts: 3, width: 32, top: 1, dtype: tensor.F32}.write(t, dir)
	poison("model.layers.1.mlp.experts.gate_up_proj", 0x7fc00000)(t, dir)
	_, err := Convert(t.Context(), os.DirFS(dir), dir, filepath.Join(out, "m.sflow"), Options{MLP: Q8_0})
	for _, want := range []string{"layers.1.mlp.experts.gate_up_proj", "expert 2 of layer 1", "NaN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("got files %v, %v, want none", left, err)
	}
}

// Experts are converted piece by piece: all that is ever allocated stays below the
// bound of the buffers, for a model whose single expert is larger.
func TestMemoryOfExperts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	randomMoE{form: "each", d: 1024, layers: 1, experts: 3, width: 2048, top: 1, dtype: tensor.F32}.write(t, dir)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Convert(t.Context(), os.DirFS(dir), dir, filepath.Join(t.TempDir(), "m.sflow"), Options{MLP: Q8_0}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 18<<20 {
		t.Errorf("got %d bytes allocated, want at most 18 MiB", got)
	}
}
