package arch

import (
	"fmt"
	"math"
	"reflect"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// ReadGGUF is the profile of a GGUF model by its metadata. What these leave to the
// tensors, such as whether there are biases, is asked of them.
func ReadGGUF(c *source.Checkpoint) (config.ModelProfile, error) {
	m := newMetadata(c)
	name := m.architecture
	if name == "" {
		return config.ModelProfile{}, fmt.Errorf("config: GGUF metadata: got general.architecture %.40s, want the name of a family", fmt.Sprint(m.keys["general.architecture"]))
	}
	f, err := known("general.architecture", name, func(f family) []string { return f.architectures })
	if err != nil {
		return config.ModelProfile{}, fmt.Errorf("config: GGUF metadata: %w", err)
	}
	p := f.metadata(m)
	p.Family = f.name
	if !m.routed && m.size(".expert_count", 0) > 0 {
		m.fail(".expert_count", "0: experts are not supported yet in models of architecture "+name)
	}
	p.Synthetic, _ = m.keys[SyntheticKey].(bool)
	if shares, ok := m.keys[ActiveKey].([]float64); ok && len(shares) == p.Layers {
		p.ActiveShares = shares
	}
	if m.err != nil {
		return config.ModelProfile{}, m.err
	}
	if err := p.Validate(); err != nil {
		return config.ModelProfile{}, err
	}
	return p, nil
}

// metadata takes typed values from a GGUF file's metadata and remembers the first
// that it could not take. Keys that begin with a dot are the architecture's.
type metadata struct {
	c            *source.Checkpoint
	keys         map[string]any
	architecture string
	routed       bool // experts were asked for
	err          error
}

func newMetadata(c *source.Checkpoint) *metadata {
	m := &metadata{c: c, keys: c.Metadata()}
	m.architecture, _ = m.keys["general.architecture"].(string)
	return m
}

// ahead is how many of the blocks predict tokens further on.
func (m *metadata) ahead() int { return m.size(".nextn_predict_layers", 0) }

func (m *metadata) key(key string) string {
	if key[0] == '.' {
		return m.architecture + key
	}
	return key
}

func (m *metadata) given(key string) bool { return m.keys[m.key(key)] != nil }

func (m *metadata) fail(key, want string) {
	if key = m.key(key); m.err == nil {
		m.err = fmt.Errorf("config: GGUF metadata: got %s %.60s, want %s", key, fmt.Sprint(m.keys[key]), want)
	}
}

// number is a number, def where the key is absent.
func (m *metadata) number(key string, def float64) float64 {
	v := reflect.ValueOf(m.keys[m.key(key)])
	switch {
	case !v.IsValid():
		return def
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	case v.CanFloat() && math.Abs(v.Float()) <= math.MaxFloat32:
		return v.Float()
	}
	m.fail(key, "a number")
	return def
}

// size is a whole number, def where the key is absent; below 0 there is no default.
func (m *metadata) size(key string, def int) int {
	if def < 0 && !m.given(key) {
		m.fail(key, "a whole number")
		return 0
	}
	v := m.number(key, float64(def))
	if v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
		m.fail(key, "a whole number of 32 bits")
		return 0
	}
	return int(v)
}

// flag is true or false, def where the key is absent.
func (m *metadata) flag(key string, def bool) bool {
	if !m.given(key) {
		return def
	}
	v, ok := m.keys[m.key(key)].(bool)
	if !ok {
		m.fail(key, "true or false")
	}
	return v
}

// same is size, or a list of one for each layer, which must be equal.
func (m *metadata) same(key string, def int) int {
	v := reflect.ValueOf(m.keys[m.key(key)])
	if !v.IsValid() || v.Kind() != reflect.Slice || v.Len() == 0 {
		return m.size(key, def)
	}
	one := v.Index(0)
	for i := range v.Len() {
		if !v.Index(i).Equal(one) {
			m.fail(key, "the same in all layers: layers of several kinds are not supported yet")
			return 0
		}
	}
	return (&metadata{keys: map[string]any{m.key(key): one.Interface()}, architecture: m.architecture}).size(key, def)
}

// token is a token of the vocabulary, -1 where there is none.
func (m *metadata) token(key string, vocab int) int32 {
	if v := m.number(key, -1); v == math.Trunc(v) && v >= 0 && v < float64(vocab) {
		return int32(v)
	}
	return -1
}

// has reports whether there is a tensor of this name.
func (m *metadata) has(name string) bool {
	_, ok := m.c.Tensor(name)
	return ok
}

// decoder reads what decoders of Llama's kind have in common. Norms' weights are as
// they multiply, also those that config.json has less 1.
func (m *metadata) decoder(activation config.Activation) config.ModelProfile {
	hidden, heads := m.size(".embedding_length", -1), m.same(".attention.head_count", -1)
	vocab := 0
	if t, ok := m.c.Tensor("token_embd.weight"); ok && len(t.Shape) == 2 && t.Shape[0] <= math.MaxInt32 {
		vocab = int(t.Shape[0])
	}
	headDim := m.same(".attention.key_length", hidden/max(1, heads))
	ffn := ".feed_forward_length"
	if experts := ".expert_feed_forward_length"; !m.given(ffn) && m.given(experts) {
		ffn = experts // no layer is dense
	}
	p := config.ModelProfile{
		VocabSize:    vocab,
		EmbedDim:     hidden,
		HiddenSize:   hidden,
		Layers:       m.size(".block_count", -1) - m.ahead(),
		Heads:        heads,
		KVHeads:      m.same(".attention.head_count_kv", heads),
		HeadSize:     headDim,
		FFN:          m.same(ffn, -1),
		NeuronParts:  3,
		MaxPositions: m.size(".context_length", -1),
		Activation:   activation,
		Norm:         config.RMSNorm,
		NormEps:      float32(m.number(".attention.layer_norm_rms_epsilon", 1e-5)),
		NormAffine:   true,
		PreNorm:      true,
		FinalNorm:    true,
		TiedHead:     !m.has("output.weight"),
		QKVBias:      m.has("blk.0.attn_q.bias") || m.has("blk.0.attn_qkv.bias"),
		OutBias:      m.has("blk.0.attn_output.bias"),
		MLPBias:      m.has("blk.0.ffn_up.bias"),
		QKVClip:      float32(m.number(".attention.clamp_kqv", 0)),
		LogitSoftCap: float32(m.number(".final_logit_softcapping", 0)),
		AttnSoftCap:  float32(m.number(".attn_logit_softcapping", 0)),
		BOS:          m.token("tokenizer.ggml.bos_token_id", vocab),
		PAD:          m.token("tokenizer.ggml.padding_token_id", vocab),
	}
	if m.has("blk.0.attn_q_norm.weight") {
		p.QKNorm = config.QKNormPerHead
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id := m.token("tokenizer.ggml."+key+"_token_id", vocab); id >= 0 && !p.IsEOS(id) {
			p.EOS = append(p.EOS, id)
		}
	}
	if m.size(".attention.value_length", headDim) != headDim {
		m.fail(".attention.value_length", "the length of keys")
	}
	p.Kinds = []config.LayerKind{{RoPE: m.rope(headDim)}}
	return p
}

// slides tells which layers see a window: all but each of that number, unless a list
// says it.
func (m *metadata) slides(number int) func(layer int) bool {
	const key = ".attention.sliding_window_pattern"
	if list, ok := m.keys[m.key(key)].([]bool); ok {
		return func(layer int) bool { return layer < len(list) && list[layer] }
	}
	number = m.size(key, number)
	return func(layer int) bool { return number == 0 || layer%number < number-1 }
}

// rope is how heads are rotated.
func (m *metadata) rope(headDim int) config.RoPE {
	r := config.RoPE{
		Theta: m.number(".rope.freq_base", 10000), Dims: m.size(".rope.dimension_count", headDim),
		Divisors: m.has("rope_freqs.weight"),
	}
	kind := ""
	if m.given(".rope.scaling.type") {
		kind, _ = m.keys[m.key(".rope.scaling.type")].(string)
	} else if m.given(".rope.scale_linear") { // its older name
		kind = "linear"
	}
	switch kind {
	case "", "none", "llama3": // that of Llama 3 comes as divisors
		return r
	case "linear", "yarn":
		r.Scaling = config.RoPEScaling(kind)
	default:
		m.fail(".rope.scaling.type", "none, linear or yarn")
		return r
	}
	r.Factor = m.number(".rope.scaling.factor", m.number(".rope.scale_linear", 1))
	if r.Factor == 0 || r.Factor == 1 && r.Scaling == config.RoPELinear {
		r.Scaling, r.Factor = config.RoPEDefault, 0
		return r
	}
	if r.Scaling == config.RoPEYaRN {
		r.Original = m.size(".rope.scaling.original_context_length", m.size(".context_length", -1))
		r.BetaFast, r.BetaSlow = m.number(".rope.scaling.yarn_beta_fast", 32), m.number(".rope.scaling.yarn_beta_slow", 1)
		r.Magnitude = m.number(".rope.scaling.attn_factor", 1) * (0.1*math.Log(r.Factor) + 1)
	}
	return r
}

// ggufNames are those of all architectures.
func ggufNames() names {
	return names{
		prefixes: []string{""},
		probe:    "final_norm.weight",
		heads:    []string{"output.weight"},
		layer:    "blk.%d.",
		stems: map[string]string{
			"embed.tokens":   "token_embd",
			"final_norm":     "output_norm",
			"rope.divisors":  "rope_freqs",
			"attn_norm":      "attn_norm",
			"attn.q":         "attn_q",
			"attn.qkv":       "attn_qkv",
			"attn.k":         "attn_k",
			"attn.v":         "attn_v",
			"attn.o":         "attn_output",
			"attn.q_norm":    "attn_q_norm",
			"attn.k_norm":    "attn_k_norm",
			"attn_post_norm": "post_attention_norm",
			"mlp_norm":       "ffn_norm",
			"mlp.gate":       "ffn_gate",
			"mlp.up":         "ffn_up",
			"mlp.down":       "ffn_down",
			"mlp_post_norm":  "post_ffw_norm",
			"attn.sinks":     "attn_sinks",
			"moe.router":     "ffn_gate_inp",

			"moe.shared.gate": "ffn_gate_shexp",
			"moe.shared.up":   "ffn_up_shexp",
			"moe.shared.down": "ffn_down_shexp",
			"moe.shared_gate": "ffn_gate_inp_shexp",
		},
		whole: map[string]string{"moe.score_bias": "exp_probs_b.bias"},
		experts: []expertForm{
			{
				parts:  [3]string{"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"},
				biases: [3]string{"ffn_gate_exps.bias", "ffn_up_exps.bias", "ffn_down_exps.bias"},
			},
			{
				parts:  [3]string{"ffn_gate_up_exps.weight", "ffn_gate_up_exps.weight", "ffn_down_exps.weight"},
				biases: [3]string{"ffn_gate_up_exps.bias", "ffn_gate_up_exps.bias", "ffn_down_exps.bias"},
			},
			// Those of the first files.
			{parts: [3]string{"ffn_gate.%d.weight", "ffn_up.%d.weight", "ffn_down.%d.weight"}},
		},
	}
}
