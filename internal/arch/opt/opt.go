// Package opt knows how OPT checkpoints name and shape their tensors: it maps
// the family-neutral names of package pack to them.
//
// OPT (Zhang et al., "OPT: Open Pre-trained Transformer Language Models",
// arXiv:2205.01068) is stored as transformers' OPTForCausalLM or OPTModel saves
// it (models/opt/modeling_opt.py). What varies between published files:
//
//   - names start with "model.decoder.", "decoder.", "model." or nothing;
//   - models without biases or without affine norms have no such tensors;
//   - opt-350m norms after attention and MLP, has no final norm, and projects
//     between the embedding's width and the model's;
//   - lm_head.weight is stored although it is tied to the embedding, in which
//     case it is ignored, as transformers ignores it.
//
// Two names mislead: a layer's final_layer_norm is the norm of its MLP, while
// the decoder's is the model's last.
package opt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// A Layer is the feed-forward matrices of one layer.
type Layer struct {
	Up   *source.Tensor // fc1.weight [ffn, d]: neuron i is row i
	Down *source.Tensor // fc2.weight [d, ffn]: neuron i is column i
}

// A Mapping is where a checkpoint holds what a model is made of. Every tensor
// has the shape that the profile demands and can be read.
type Mapping struct {
	Resident map[string]*source.Tensor // by the name that package pack has for it
	Layers   []Layer                   // [layers]
	Notices  []string                  // tensors that no part of the model wants
	// Head is the stored head of a model that config.json ties to the embedding,
	// nil if there is none. transformers ignores it, from 5 on if the two agree.
	Head *source.Tensor
}

// Map finds every tensor that profile demands in c; path is the checkpoint's, for
// errors.
func Map(c *source.Checkpoint, p config.ModelProfile, path string) (*Mapping, error) {
	f := &finder{c: c, path: path, used: make(map[string]bool)}
	f.findPrefix()
	m := &Mapping{Resident: make(map[string]*source.Tensor), Layers: make([]Layer, 0, min(p.Layers, len(c.Names())))}
	for _, t := range f.demanded(p) {
		found, err := f.find(t)
		if err != nil {
			return nil, err
		}
		m.Resident[t.pack] = found
	}
	for i := range p.Layers {
		layer, err := f.layer(m, p, i)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, layer)
	}
	m.Notices = f.extras(p)
	if head, ok := f.c.Tensor(f.head()); ok && p.TiedHead && !f.used[f.head()] {
		m.Head = head
	}
	return m, nil
}

// A demand is one tensor that a model must have.
type demand struct {
	pack  string // name in the pack; empty for what becomes bundles
	name  string // in the checkpoint
	role  string // for errors
	shape []int64
}

// demanded lists what lies outside the layers.
func (f *finder) demanded(p config.ModelProfile) []demand {
	d, e, vocab := int64(p.HiddenSize), int64(p.EmbedDim), int64(p.VocabSize)
	list := []demand{
		{"embed.tokens", f.tokens(p), "token embedding", []int64{vocab, e}},
		{"embed.positions", f.prefix + "embed_positions.weight", "position embedding",
			[]int64{int64(p.MaxPositions + p.PositionOffset), d}},
	}
	if e != d {
		list = append(list,
			demand{"project.in", f.prefix + "project_in.weight", "projection of the embedding", []int64{d, e}},
			demand{"project.out", f.prefix + "project_out.weight", "projection before the head", []int64{e, d}})
	}
	if p.FinalNorm {
		list = append(list, norm(p, "final_norm", f.prefix+"final_layer_norm", "final norm")...)
	}
	if !p.TiedHead {
		list = append(list, demand{"head", f.head(), "head, which config.json does not tie to the embedding", []int64{vocab, e}})
	}
	return list
}

// headNames lists how the head is stored, the usual name first.
func headNames() []string { return []string{"lm_head.weight", "model.lm_head.weight"} }

// inLayer lists what layer i has besides its feed-forward matrices.
func (f *finder) inLayer(p config.ModelProfile, i int) []demand {
	to := "layers." + strconv.Itoa(i) + "."
	from := f.prefix + to
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	list := norm(p, to+"attn_norm", from+"self_attn_layer_norm", "attention norm")
	for _, m := range []struct{ to, from, role string }{
		{"q", "q_proj", "query"}, {"k", "k_proj", "key"}, {"v", "v_proj", "value"}, {"o", "out_proj", "attention output"},
	} {
		list = append(list, demand{to + "attn." + m.to + ".weight", from + "self_attn." + m.from + ".weight",
			m.role + " projection", []int64{d, d}})
		if p.Bias {
			list = append(list, demand{to + "attn." + m.to + ".bias", from + "self_attn." + m.from + ".bias",
				m.role + " projection's bias", []int64{d}})
		}
	}
	list = append(list, norm(p, to+"mlp_norm", from+"final_layer_norm", "MLP norm")...)
	if p.Bias {
		list = append(list,
			demand{to + "mlp.up.bias", from + "fc1.bias", "neurons' bias", []int64{ffn}},
			demand{to + "mlp.down.bias", from + "fc2.bias", "MLP output's bias", []int64{d}})
	}
	return list
}

func norm(p config.ModelProfile, to, from, role string) []demand {
	if !p.NormAffine {
		return nil
	}
	shape := []int64{int64(p.HiddenSize)}
	return []demand{
		{to + ".weight", from + ".weight", role + "'s weight", shape},
		{to + ".bias", from + ".bias", role + "'s bias", shape},
	}
}

// A finder looks demands up in a checkpoint.
type finder struct {
	c      *source.Checkpoint
	path   string          // of the checkpoint, for errors
	prefix string          // of the decoder's tensors
	used   map[string]bool // names that were asked for
}

// findPrefix takes the prefix under which the position table lies, which every
// OPT model has once. Where there is none, the errors that follow name the
// usual prefix.
func (f *finder) findPrefix() {
	for _, p := range []string{"model.decoder.", "decoder.", "model.", ""} {
		if _, ok := f.c.Tensor(p + "embed_positions.weight"); ok {
			f.prefix = p
			return
		}
	}
	f.prefix = "model.decoder."
}

// head is the name of the stored head, the usual one if there is none.
func (f *finder) head() string {
	for _, name := range headNames() {
		if _, ok := f.c.Tensor(name); ok {
			return name
		}
	}
	return headNames()[0]
}

// tokens is the name of the token embedding. Writers that store tied tensors
// once may have kept the head's name.
func (f *finder) tokens(p config.ModelProfile) string {
	name := f.prefix + "embed_tokens.weight"
	if _, ok := f.c.Tensor(name); ok || !p.TiedHead {
		return name
	}
	if _, ok := f.c.Tensor(f.head()); ok {
		return f.head()
	}
	return name
}

func (f *finder) layer(m *Mapping, p config.ModelProfile, i int) (l Layer, err error) {
	for _, t := range f.inLayer(p, i) {
		if m.Resident[t.pack], err = f.find(t); err != nil {
			return l, err
		}
	}
	from := f.prefix + "layers." + strconv.Itoa(i) + "."
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	l.Up, err = f.find(demand{"", from + "fc1.weight", "neurons' first half", []int64{ffn, d}})
	if err != nil {
		return l, err
	}
	l.Down, err = f.find(demand{"", from + "fc2.weight", "neurons' second half", []int64{d, ffn}})
	return l, err
}

// find returns the tensor that t asks for.
func (f *finder) find(t demand) (*source.Tensor, error) {
	x, ok := f.c.Tensor(t.name)
	if !ok {
		why := f.c.Why(t.name)
		if why != "" {
			why = "; " + why
		}
		return nil, fmt.Errorf("arch: map %s: got no tensor %q (%s) in %s, want one of shape %v by config.json%s",
			f.path, t.name, t.role, strings.Join(f.c.Files(), ", "), t.shape, why)
	}
	f.used[t.name] = true
	if err := x.Err(); err != nil {
		return nil, fmt.Errorf("arch: map %s: %s: %w", f.path, t.role, err)
	}
	if !slices.Equal(x.Shape, t.shape) {
		return nil, fmt.Errorf("arch: map %s: tensor %q (%s): got shape %v, want %v by config.json",
			f.path, t.name, t.role, x.Shape, t.shape)
	}
	return x, nil
}

// maxNotices bounds the list for a checkpoint that holds a second model.
const maxNotices = 10

// extras lists the tensors that nobody asked for, except harmless ones.
func (f *finder) extras(p config.ModelProfile) (notices []string) {
	more := 0
	for _, name := range f.c.Names() {
		if f.used[name] || harmless(name, p) {
			continue
		}
		if len(notices) == maxNotices {
			more++
			continue
		}
		t, _ := f.c.Tensor(name)
		notices = append(notices, fmt.Sprintf("tensor %q of shape %v is unknown in OPT models and left out", name, t.Shape))
	}
	if more > 0 {
		notices = append(notices, fmt.Sprintf("%d more unknown tensors are left out", more))
	}
	return notices
}

// harmless reports whether every OPT model may have a tensor of this name
// without using it: a head that is tied, and buffers of older transformers.
func harmless(name string, p config.ModelProfile) bool {
	if slices.Contains(headNames(), name) {
		return p.TiedHead
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last == "position_ids" || last == "_float_tensor" || last == "version"
}
