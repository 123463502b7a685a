package arch

import (
	"fmt"
	"math"
	"slices"
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

// experts gives experts to the layers that have a router; where metadata do not say
// it, experts are of width neurons and chosen by router.
func (m *metadata) experts(p *config.ModelProfile, width int, router config.Router) {
	dense := m.size(".leading_dense_block_count", 0)
	has := func(layer int, tensor string) bool { return m.has(fmt.Sprintf("blk.%d.%s", layer, tensor)) }
	sparse := func(layer int) bool {
		return layer >= dense && (has(layer, "ffn_gate_inp.weight") || !has(layer, "ffn_up.weight"))
	}
	x := config.MoE{
		Experts: m.size(".expert_count", -1), TopK: m.size(".expert_used_count", -1),
		Width: m.size(".expert_feed_forward_length", width), Router: router,
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
	interleaved bool // rows of gate and up in turns
	transposed  bool // [.., columns, rows]
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

// experts finds the experts of a layer, of which it must have some.
func (f *finder) experts(p config.ModelProfile, layer int) (x Experts) {
	at := f.prefix + fmt.Sprintf(f.names.layer, layer)
	form := f.form(at)
	m := p.MoE(layer)
	for part, shape := range p.ExpertTensors(layer) {
		rows, first, step := int64(shape.Rows), int64(0), int64(1)
		if form.parts[0] == form.parts[1] && part < 2 {
			switch {
			case form.interleaved:
				first, step = int64(part), 2
			default:
				first = int64(part) * rows
			}
			rows *= 2
		}
		name := at + form.parts[part]
		dims := []int64{rows, int64(shape.Cols)}
		if form.transposed {
			slices.Reverse(dims)
		}
		if each := strings.Contains(form.parts[part], "%d"); each {
			for e := range m.Experts {
				t := f.look(fmt.Sprintf(name, e), fmt.Sprintf("%s of expert %d", shape.Name, e), dims)
				if f.err != nil {
					return x
				}
				x.Parts[part] = append(x.Parts[part], Slice{Tensor: form.upright(t), First: first, Step: step})
			}
			continue
		}
		t := f.look(name, shape.Name, append([]int64{int64(m.Experts)}, dims...))
		if f.err != nil {
			return x
		}
		t = form.upright(t)
		for e := range m.Experts {
			x.Parts[part] = append(x.Parts[part], Slice{Tensor: t, First: int64(e)*rows + first, Step: step})
		}
	}
	return x
}

// form is the form that a layer's experts are stored in, the usual one if they are
// not there. Forms may share the name of the last part.
func (f *finder) form(at string) expertForm {
	for _, parts := range [][]int{{0, 1}, {2}} {
		for _, form := range f.names.experts {
			for _, part := range parts {
				name := at + strings.ReplaceAll(form.parts[part], "%d", "0")
				if _, ok := f.c.Tensor(name); ok {
					return form
				}
			}
		}
	}
	return f.names.experts[0]
}

// upright is a tensor of experts as its rows are counted.
func (e expertForm) upright(t *source.Tensor) *source.Tensor {
	if !e.transposed {
		return t
	}
	return t.Transposed()
}
