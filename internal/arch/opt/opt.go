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
	f := &finder{c: c, p: p, path: path, used: make(map[string]bool),
		m: &Mapping{Resident: make(map[string]*source.Tensor), Layers: make([]Layer, min(p.Layers, len(c.Names())))}}
	f.findPrefix()
	f.outside()
	for i := range p.Layers {
		if f.err != nil {
			return nil, f.err
		}
		f.layer(i)
	}
	if f.err != nil {
		return nil, f.err
	}
	f.m.Notices = f.extras(p)
	if head, ok := c.Tensor(f.head()); ok && p.TiedHead && !f.used[f.head()] {
		f.m.Head = head
	}
	return f.m, nil
}

// outside finds what lies outside the layers.
func (f *finder) outside() {
	d, e, vocab := int64(f.p.HiddenSize), int64(f.p.EmbedDim), int64(f.p.VocabSize)
	f.resident("embed.tokens", f.tokens(), "token embedding", vocab, e)
	f.resident("embed.positions", f.prefix+"embed_positions.weight", "position embedding", int64(f.p.MaxPositions+f.p.PositionOffset), d)
	if e != d {
		f.resident("project.in", f.prefix+"project_in.weight", "projection of the embedding", d, e)
		f.resident("project.out", f.prefix+"project_out.weight", "projection before the head", e, d)
	}
	if f.p.FinalNorm {
		f.norm("final_norm", f.prefix+"final_layer_norm", "final norm")
	}
	if !f.p.TiedHead {
		f.resident("head", f.head(), "head, which config.json does not tie to the embedding", vocab, e)
	}
}

// layer finds what layer i has.
func (f *finder) layer(i int) {
	to := "layers." + strconv.Itoa(i) + "."
	from := f.prefix + to
	d, ffn := int64(f.p.HiddenSize), int64(f.p.FFN)
	f.norm(to+"attn_norm", from+"self_attn_layer_norm", "attention norm")
	for _, m := range []struct{ to, from, role string }{
		{"q", "q_proj", "query"}, {"k", "k_proj", "key"}, {"v", "v_proj", "value"}, {"o", "out_proj", "attention output"},
	} {
		f.resident(to+"attn."+m.to+".weight", from+"self_attn."+m.from+".weight", m.role+" projection", d, d)
		f.bias(to+"attn."+m.to+".bias", from+"self_attn."+m.from+".bias", m.role+" projection's bias", d)
	}
	f.norm(to+"mlp_norm", from+"final_layer_norm", "MLP norm")
	f.bias(to+"mlp.up.bias", from+"fc1.bias", "neurons' bias", ffn)
	f.bias(to+"mlp.down.bias", from+"fc2.bias", "MLP output's bias", d)
	layer := Layer{
		Up:   f.find(from+"fc1.weight", "neurons' first half", ffn, d),
		Down: f.find(from+"fc2.weight", "neurons' second half", d, ffn),
	}
	if f.err == nil {
		f.m.Layers[i] = layer
	}
}

func (f *finder) resident(pack, name, role string, shape ...int64) {
	f.m.Resident[pack] = f.find(name, role, shape...)
}

func (f *finder) bias(pack, name, role string, n int64) {
	if f.p.Bias {
		f.resident(pack, name, role, n)
	}
}

func (f *finder) norm(pack, name, role string) {
	if f.p.NormAffine {
		f.resident(pack+".weight", name+".weight", role+"'s weight", int64(f.p.HiddenSize))
		f.resident(pack+".bias", name+".bias", role+"'s bias", int64(f.p.HiddenSize))
	}
}

// headNames lists how the head is stored, the usual name first.
func headNames() []string { return []string{"lm_head.weight", "model.lm_head.weight"} }

// A finder looks tensors up in a checkpoint.
type finder struct {
	c      *source.Checkpoint
	p      config.ModelProfile
	m      *Mapping        // what was found
	err    error           // about the first that was not
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
func (f *finder) tokens() string {
	name := f.prefix + "embed_tokens.weight"
	if _, ok := f.c.Tensor(name); ok || !f.p.TiedHead {
		return name
	}
	if _, ok := f.c.Tensor(f.head()); ok {
		return f.head()
	}
	return name
}

// find returns the tensor called name, nil if it is not there as it must be.
func (f *finder) find(name, role string, shape ...int64) *source.Tensor {
	x, ok := f.c.Tensor(name)
	f.used[name] = true
	var err error
	switch {
	case f.err != nil:
		return nil
	case !ok:
		why := f.c.Why(name)
		if why != "" {
			why = "; " + why
		}
		err = fmt.Errorf("got no tensor %q (%s) in %s, want one of shape %v by config.json%s",
			name, role, strings.Join(f.c.Files(), ", "), shape, why)
	case x.Err() != nil:
		err = fmt.Errorf("%s: %w", role, x.Err())
	case !slices.Equal(x.Shape, shape):
		err = fmt.Errorf("tensor %q (%s): got shape %v, want %v by config.json", name, role, x.Shape, shape)
	default:
		return x
	}
	f.err = fmt.Errorf("arch: map %s: %w", f.path, err)
	return nil
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
