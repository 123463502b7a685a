package arch

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
)

// setExperts gives the layers of which that holds a mixture of experts.
func setExperts(p *config.ModelProfile, m config.MoE, has func(layer int) bool) {
	if p.Layers < 1 || p.Layers > config.MostLayers {
		return // which Validate refuses
	}
	var kinds []config.LayerKind
	of := make([]int, p.Layers)
	for i := range of {
		k := p.Kind(i)
		if has(i) {
			k.MoE = m
		}
		if of[i] = slices.Index(kinds, k); of[i] < 0 {
			of[i] = len(kinds)
			kinds = append(kinds, k)
		}
	}
	if p.Kinds, p.KindOf = kinds, of; len(kinds) == 1 {
		p.KindOf = nil
	}
}

// experts is how many experts a layer has, by either of transformers' names.
func (r *reader) experts(def int) int {
	for _, key := range []string{"num_experts", "num_local_experts", "n_routed_experts"} {
		if r.given(key) {
			return r.size(key, def)
		}
	}
	return def
}

// allExperts gives experts to all layers; m has the defaults of what is read.
func (r *reader) allExperts(p *config.ModelProfile, m config.MoE) {
	m.Experts = r.experts(m.Experts)
	m.TopK = r.size("num_experts_per_tok", m.TopK)
	setExperts(p, m, func(int) bool { return true })
}

// experts gives experts to the layers that have a router; where metadata do not say
// it, experts are of width neurons and chosen by router.
func (m *metadata) experts(p *config.ModelProfile, width int, router config.Router) {
	m.routed = true
	dense := m.size(".leading_dense_block_count", 0)
	has := func(layer int, tensor string) bool { return m.has(fmt.Sprintf("blk.%d.%s", layer, tensor)) }
	sparse := func(layer int) bool {
		return layer >= dense && (has(layer, "ffn_gate_inp.weight") || !has(layer, "ffn_up.weight"))
	}
	x := config.MoE{
		Experts: m.size(".expert_count", -1), TopK: m.size(".expert_used_count", -1),
		Width: m.same(".expert_feed_forward_length", width), Router: router,
	}
	r := &x.Router
	switch kind := m.size(".expert_gating_func", 0); kind {
	case 0:
	case 1:
		r.Kind = config.RouterSoftmax
	case 2:
		r.Kind = config.RouterSigmoid
	case 3:
		r.Kind = config.RouterSoftmaxChosen
	default:
		m.fail(".expert_gating_func", "1 to 3: softmax, sigmoid or softmax of those chosen")
	}
	r.Normalize = m.flag(".expert_weights_norm", r.Normalize)
	if s := m.number(".expert_weights_scale", float64(r.Scale)); s != 1 {
		r.Scale = float32(s)
	}
	if n := m.size(".expert_group_count", 0); n > 1 {
		r.Groups, r.TopGroups = n, m.size(".expert_group_used_count", -1)
	}
	first := dense
	for first < min(p.Layers, config.MostLayers) && !sparse(first) {
		first++
	}
	r.Bias, r.ScoreBias = has(first, "ffn_gate_inp.bias"), has(first, "exp_probs_b.bias")
	x.Bias = has(first, "ffn_up_exps.bias")
	if t, ok := m.c.Tensor(fmt.Sprintf("blk.%d.ffn_up_shexp.weight", first)); ok && len(t.Shape) == 2 && t.Shape[0] <= math.MaxInt32 {
		x.Shared, x.SharedGate = int(t.Shape[0]), has(first, "ffn_gate_inp_shexp.weight")
	}
	setExperts(p, x, sparse)
}

// expertForm is a way to store a layer's experts: the names of gate, up and down
// behind the layer's. A name with %d in it is that of one expert's matrix; another
// holds those of all, one after the other. Where gate and up are of one name, their
// rows lie in one matrix, the gate's first.
type expertForm struct {
	parts       [3]string
	biases      [3]string // in the same way, "" if such experts have none
	interleaved bool      // rows of gate and up in turns
	transposed  bool      // [.., columns, rows]
	mxfp4       bool      // names lack what tells blocks from scales
}

// expertEach are experts of a tensor each, by what precedes the expert's number, and
// expertFused those of all in two tensors, as transformers store them.
func expertEach(at, gate, up, down string) expertForm {
	of := func(part string) string { return at + "%d." + part + ".weight" }
	return expertForm{parts: [3]string{of(gate), of(up), of(down)}}
}

func expertFused(at string) expertForm {
	gateUp := at + "gate_up_proj"
	return expertForm{parts: [3]string{gateUp, gateUp, at + "down_proj"}}
}

// fused reports whether gate and up, of these names, are in one.
func fused(names [3]string) bool { return names[0] == names[1] }

// rows is where the rows of a part lie that has n of all, in the matrix of one expert.
func (e expertForm) rows(names [3]string, part int, n int64) (all, first, step int64) {
	switch {
	case part == 2 || !fused(names):
		return n, 0, 1
	case e.interleaved:
		return 2 * n, int64(part), 2
	}
	return 2 * n, int64(part) * n, 1
}

// experts finds the experts of a layer, of which it must have some.
func (f *finder) experts(p config.ModelProfile, layer int) (x Experts) {
	at := f.prefix + fmt.Sprintf(f.names.layer, layer)
	form := f.form(at)
	count := p.MoE(layer).Experts
	for part, shape := range p.ExpertTensors(layer) {
		all, first, step := form.rows(form.parts, part, int64(shape.Rows))
		dims := []int64{all, int64(shape.Cols)}
		if form.transposed {
			slices.Reverse(dims)
		}
		name, each := at+form.parts[part], strings.Contains(form.parts[part], "%d")
		var t *source.Tensor
		if !each {
			t = f.matrices(form, name, shape.Name, append([]int64{int64(count)}, dims...))
		}
		for e := range count {
			if each {
				t = f.matrices(form, fmt.Sprintf(name, e), fmt.Sprintf("%s of expert %d", shape.Name, e), dims)
			}
			if f.err != nil {
				return x
			}
			s := Slice{Tensor: t, First: first, Step: step}
			if !each {
				s.First += int64(e) * all
			}
			x.Parts[part] = append(x.Parts[part], s)
		}
	}
	return x
}

// matrices finds a tensor of experts' matrices, [.., rows, columns] once it is found.
func (f *finder) matrices(form expertForm, name, role string, shape []int64) *source.Tensor {
	if form.mxfp4 {
		return f.mxfp4(name, role, shape)
	}
	t := f.look(name, role, shape)
	if form.transposed && t != nil {
		t = t.Transposed()
	}
	return t
}

// mxfp4 finds a tensor that is stored as blocks and scales.
func (f *finder) mxfp4(name, role string, shape []int64) *source.Tensor {
	const elems = 32
	last := len(shape) - 1
	stored := append(slices.Clone(shape[:last]), shape[last]/elems)
	scales := f.shaped(name+"_scales", role+", scales", stored)
	blocks := f.shaped(name+"_blocks", role+", blocks", append(slices.Clone(stored), elems/2))
	if f.err != nil {
		return nil
	}
	t, err := source.MXFP4(blocks, scales)
	if err == nil && !slices.Equal(t.Shape, shape) {
		err = fmt.Errorf("tensor %q (%s): got blocks of %d elements in rows of %d, want whole ones", name, role, elems, shape[last])
	}
	if err != nil {
		f.err = fmt.Errorf("arch: map %s: %w", f.path, err)
	}
	return t
}

// expertBias finds the biases of a part of a layer's experts, [experts, rows].
func (f *finder) expertBias(s config.TensorShape, part int) *source.Tensor {
	layer, _, _ := strings.Cut(strings.TrimPrefix(s.Name, "layers."), ".")
	i, _ := strconv.Atoi(layer)
	at := f.prefix + fmt.Sprintf(f.names.layer, i)
	form := f.form(at)
	all, first, step := form.rows(form.biases, part, int64(s.Cols))
	t := f.look(at+form.biases[part], s.Name, []int64{int64(s.Rows), all})
	if t == nil || all == int64(s.Cols) {
		return t
	}
	return t.Columns(first, step, int64(s.Cols))
}

// expertPart is which part's biases a tensor is that config.TensorShape calls name,
// -1 if none.
func expertPart(name string) int {
	_, part, is := strings.Cut(name, ".moe.experts.")
	if !is {
		return -1
	}
	return slices.Index([]string{"gate.bias", "up.bias", "down.bias"}, part)
}

// form is the form that a layer's experts are stored in, the usual one if they are
// not there. Forms may share the name of the last part.
func (f *finder) form(at string) expertForm {
	for _, parts := range [][]int{{0, 1}, {2}} {
		for _, form := range f.names.experts {
			for _, part := range parts {
				name := at + strings.ReplaceAll(form.parts[part], "%d", "0")
				if form.mxfp4 {
					name += "_blocks"
				}
				if _, ok := f.c.Tensor(name); ok {
					return form
				}
			}
		}
	}
	return f.names.experts[0]
}
