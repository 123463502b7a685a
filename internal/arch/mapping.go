package arch

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// A Mapping is where a checkpoint holds what a model is made of. Every tensor
// has the shape that the profile demands and can be read.
type Mapping struct {
	// Resident holds all that is no neuron, by the names of config.TensorShape.
	Resident map[string]*source.Tensor
	Layers   []Neurons // [layers] of a model with neurons that can be left out, else none
	Experts  []Experts // [layers] of a model with experts, empty for layers without any, else none
	Notices  []string  // tensors that no part of the model wants
	// Head is the stored head of a model that config.json ties to the embedding,
	// nil if there is none. transformers ignores it, from 5 on if the two agree.
	Head *source.Tensor
}

// Neurons is the MLP of one layer: neuron i is row i of the first two matrices,
// and column i of the last.
type Neurons struct {
	Gate *source.Tensor // [ffn, d], nil in neurons of two parts
	Up   *source.Tensor // [ffn, d]
	Down *source.Tensor // [d, ffn]
}

// Parts are the matrices in the order of a neuron's parts.
func (n Neurons) Parts() []*source.Tensor {
	if n.Gate == nil {
		return []*source.Tensor{n.Up, n.Down}
	}
	return []*source.Tensor{n.Gate, n.Up, n.Down}
}

// Slice is rows of a tensor, whose last dimension is the columns and whose others
// count rows: First, First+Step and so on.
type Slice struct {
	Tensor      *source.Tensor
	First, Step int64
}

// Experts is where the experts of a layer lie: Parts[p][e] is part p of expert e.
type Experts struct {
	Parts [3][]Slice
}

// names translates the names of tensors.
type names struct {
	prefixes []string // of all but the head, the usual one first
	probe    string   // the tensor whose name tells the prefix, as config.TensorShape calls it
	heads    []string // how the head is stored, the usual name first
	layer    string   // format of what precedes the names in a layer
	// stems are names less prefix, layer, and .weight or .bias at the end.
	stems map[string]string
	// whole are names less prefix and layer alone, by what config.TensorShape calls
	// them less the layer.
	whole   map[string]string
	experts []expertForm // the usual one first
	// ahead is how many layers behind the last may be there, which predict tokens
	// further on (Gloeckle et al., arXiv:2404.19737) and are left out.
	ahead int
}

// transformersHeads are how transformers store heads.
func transformersHeads() []string {
	return []string{"lm_head.weight", "model.lm_head.weight", "language_model.lm_head.weight"}
}

// of is the name of a tensor behind a prefix.
func (n *names) of(prefix, neutral string) string {
	if rest, ok := strings.CutPrefix(neutral, "layers."); ok {
		layer, in, _ := strings.Cut(rest, ".")
		i, _ := strconv.Atoi(layer)
		prefix += fmt.Sprintf(n.layer, i)
		neutral = in
	}
	if name, ok := n.whole[neutral]; ok {
		return prefix + name
	}
	stem, end := strings.CutSuffix(neutral, ".weight")
	suffix := ".weight"
	if !end {
		if stem, end = strings.CutSuffix(neutral, ".bias"); end {
			suffix = ".bias"
		}
	}
	return prefix + n.stems[stem] + suffix
}

// Map finds every tensor that profile demands in c, a checkpoint of transformers or
// a GGUF model; path is its, for errors.
func Map(c *source.Checkpoint, p config.ModelProfile, path string) (*Mapping, error) {
	f, err := byModelType(p.Family)
	if err != nil {
		return nil, fmt.Errorf("arch: map %s: %w", path, err)
	}
	if c.Metadata() != nil {
		n := ggufNames()
		maps.Copy(n.stems, f.stems)
		n.ahead = newMetadata(c).ahead()
		return mapTensors(c, p, path, n, "its metadata")
	}
	return mapTensors(c, p, path, f.names(), "config.json")
}

// mapTensors is Map by names; what the profile was read from is by.
func mapTensors(c *source.Checkpoint, p config.ModelProfile, path string, n names, by string) (*Mapping, error) {
	f := &finder{c: c, names: n, profile: p, path: path, by: by, used: make(map[string]bool)}
	f.findPrefix()
	m := &Mapping{Resident: make(map[string]*source.Tensor)}
	residents := func(shapes []config.TensorShape) {
		for _, s := range shapes {
			m.Resident[s.Name] = f.find(s)
		}
	}
	residents(p.SharedTensors())
	for i := 0; i < p.Layers && f.err == nil; i++ {
		residents(p.LayerTensors(i))
		if p.Experts() > 0 {
			var x Experts
			if p.MoE(i).Experts > 0 && f.err == nil {
				x = f.experts(p, i)
			}
			m.Experts = append(m.Experts, x)
		}
		if !p.Sparse() {
			continue
		}
		var parts []*source.Tensor
		for _, s := range p.NeuronTensors(i) {
			parts = append(parts, f.find(s))
		}
		layer := Neurons{Up: parts[len(parts)-2], Down: parts[len(parts)-1]}
		if len(parts) == 3 {
			layer.Gate = parts[0]
		}
		m.Layers = append(m.Layers, layer)
	}
	if f.err != nil {
		return nil, f.err
	}
	m.Notices = f.extras(p)
	if head, ok := c.Tensor(f.head()); ok && p.TiedHead && !f.used[f.head()] {
		m.Head = head
	}
	return m, nil
}

// A finder looks tensors up in a checkpoint.
type finder struct {
	c       *source.Checkpoint
	names   names
	profile config.ModelProfile
	err     error           // about the first that was not found
	path    string          // of the checkpoint, for errors
	by      string          // what says which shapes are wanted
	prefix  string          // of the decoder's tensors
	used    map[string]bool // names that were asked for
}

// findPrefix takes the prefix under which the probe lies. Where there is none,
// the errors that follow name the usual prefix.
func (f *finder) findPrefix() {
	for _, p := range f.names.prefixes {
		if _, ok := f.c.Tensor(f.names.of(p, f.names.probe)); ok {
			f.prefix = p
			return
		}
	}
	f.prefix = f.names.prefixes[0]
}

// head is the name of the stored head, the usual one if there is none.
func (f *finder) head() string {
	for _, name := range f.names.heads {
		if _, ok := f.c.Tensor(name); ok {
			return name
		}
	}
	return f.names.heads[0]
}

// name is what the checkpoint calls a tensor. Writers that store tied tensors
// once may have kept the head's name.
func (f *finder) name(neutral string) string {
	if neutral == "head" {
		return f.head()
	}
	name := f.names.of(f.prefix, neutral)
	if _, ok := f.c.Tensor(name); !ok && neutral == "embed.tokens" && f.profile.TiedHead {
		if _, ok := f.c.Tensor(f.head()); ok {
			return f.head()
		}
	}
	return name
}

// find returns a tensor, nil if it is not there as it must be.
func (f *finder) find(s config.TensorShape) *source.Tensor {
	if part := expertPart(s.Name); part >= 0 {
		return f.expertBias(s, part)
	}
	if x := f.findJoined(s); x != nil || f.err != nil {
		return x
	}
	role, shape := s.Name, []int64{int64(s.Rows), int64(s.Cols)}
	if s.Vector {
		shape = shape[1:]
	}
	if role == "head" {
		role = "head, which " + f.by + " does not tie to the embedding"
	}
	return f.look(f.name(s.Name), role, shape)
}

// findJoined returns queries', keys' or values' part of a tensor that holds all three,
// one after the other, nil where they are apart.
func (f *finder) findJoined(s config.TensorShape) *source.Tensor {
	if f.names.stems["attn.qkv"] == "" || f.err != nil {
		return nil
	}
	if _, apart := f.c.Tensor(f.name(s.Name)); apart {
		return nil
	}
	q, kv := int64(f.profile.QueryDim()), int64(f.profile.KVDim())
	for i, part := range []string{".attn.q.", ".attn.k.", ".attn.v."} {
		at, suffix, ok := strings.Cut(s.Name, part)
		joined := f.names.of(f.prefix, at+".attn.qkv."+suffix)
		if _, there := f.c.Tensor(joined); !ok || !there {
			continue
		}
		shape := []int64{q + 2*kv, int64(s.Cols)}
		if s.Vector {
			shape = shape[:1]
		}
		x := f.look(joined, s.Name, shape)
		if x == nil {
			return nil
		}
		first, n := [...]int64{0, q, q + kv}[i], kv
		if i == 0 {
			n = q
		}
		return x.Rows(first, n)
	}
	return nil
}

// fp8Scales ends the name of the scales of weights of 8 bits.
const fp8Scales = "_scale_inv"

// look is find by the checkpoint's name of a tensor; errors tell its role.
func (f *finder) look(name, role string, shape []int64) *source.Tensor {
	x := f.shaped(name, role, shape)
	if scales, ok := f.c.Tensor(name + fp8Scales); ok && x != nil {
		f.used[scales.Name] = true
		var err error
		if x, err = source.FP8(x, scales); err != nil {
			f.err = fmt.Errorf("arch: map %s: %s: %w", f.path, role, err)
			return nil
		}
	}
	if x != nil && x.Err() != nil {
		f.err = fmt.Errorf("arch: map %s: %s: %w", f.path, role, x.Err())
		return nil
	}
	return x
}

// shaped is look for a tensor of any type.
func (f *finder) shaped(name, role string, shape []int64) *source.Tensor {
	if f.err != nil {
		return nil
	}
	x, ok := f.c.Tensor(name)
	f.used[name] = true
	var err error
	switch {
	case !ok:
		why := f.c.Why(name)
		if why != "" {
			why = "; " + why
		}
		err = fmt.Errorf("got no tensor %q (%s) in %s, want one of shape %v by %s%s",
			name, role, strings.Join(f.c.Files(), ", "), shape, f.by, why)
	case slices.Equal(x.Shape, shape):
		return x
	case len(shape) == 2 && shape[0] == 1 && slices.Equal(x.Shape, shape[1:]): // a matrix of one row as GGUF has it
		row := *x
		row.Shape = shape
		return &row
	default:
		err = fmt.Errorf("tensor %q (%s): got shape %v, want %v by %s", name, role, x.Shape, shape, f.by)
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
		if f.used[name] || p.TiedHead && slices.Contains(f.names.heads, name) || harmless(name) || f.isAhead(name, p.Layers) {
			continue
		}
		if len(notices) == maxNotices {
			more++
			continue
		}
		t, _ := f.c.Tensor(name)
		notices = append(notices, fmt.Sprintf("tensor %q of shape %v is unknown in %s models and left out", name, t.Shape, p.Family))
	}
	if more > 0 {
		notices = append(notices, fmt.Sprintf("%d more unknown tensors are left out", more))
	}
	return notices
}

// isAhead reports whether a tensor is of a layer behind the last of a model of layers.
func (f *finder) isAhead(name string, layers int) bool {
	before, after, _ := strings.Cut(f.prefix+f.names.layer, "%d")
	rest, ok := strings.CutPrefix(name, before)
	number, _, in := strings.Cut(rest, after)
	i, err := strconv.Atoi(number)
	return ok && in && err == nil && i >= layers && i < layers+f.names.ahead
}

// harmless reports whether any model may have a tensor of this name without using
// it: buffers of older transformers, and what sees and hears in models that do
// more than read.
func harmless(name string) bool {
	for _, part := range []string{"vision_tower.", "vision_model.", "visual.", "audio_tower.", "multi_modal_projector.", "rotary_emb.inv_freq"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last == "position_ids" || last == "_float_tensor" || last == "version"
}
