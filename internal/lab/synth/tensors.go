package synth

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
)

// stored is a tensor as a checkpoint has it, float16.
type stored struct {
	name   string
	shape  []int64
	layer  int   // -1: of none
	offset int64 // in the weight file
	// data is the tensor, while its layer is the one in memory.
	data func(w *layerWeights) []byte
	// rows is how an embedding is drawn, which is never in memory whole.
	rows func(s *space) rows
}

func (t stored) bytes() int64 {
	n := int64(2)
	for _, s := range t.shape {
		n *= s
	}
	return n
}

// names are what a family's checkpoints call tensors.
type names struct {
	prefix                       string // of all but the head
	finalNorm                    string
	attnNorm, attention, out     string // the second is before q_proj, k_proj, v_proj
	mlpNorm, first, second, down string
}

func namesOf(p config.ModelProfile) names {
	if p.NeuronParts == 3 {
		return names{"model.", "norm", "input_layernorm", "self_attn.", "o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
	}
	return names{"model.decoder.", "final_layer_norm", "self_attn_layer_norm", "self_attn.", "out_proj", "final_layer_norm", "fc1", "", "fc2"}
}

// tensors lists a checkpoint's tensors in the order of the weight file: the
// embeddings, then layer by layer.
func tensors(p config.ModelProfile) []stored {
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	n, layer := namesOf(p), -1
	prefix := n.prefix
	list := []stored{{name: prefix + "embed_tokens.weight", shape: []int64{int64(p.VocabSize), d}, layer: -1, rows: (*space).tokenRows}}
	if p.LearnedPositions {
		list = append(list, stored{name: prefix + "embed_positions.weight", shape: []int64{int64(p.MaxPositions + p.PositionOffset), d}, layer: -1, rows: (*space).positionRows})
	}
	type data func(w *layerWeights) []byte
	add := func(name string, data data, shape ...int64) {
		list = append(list, stored{name: prefix + name, shape: shape, layer: layer, data: data})
	}
	zeros := func(w *layerWeights) []byte { return w.zeros }
	norm := func(name string, weight data) {
		add(name+".weight", weight, d)
		if p.Norm == config.LayerNorm {
			add(name+".bias", zeros, d)
		}
	}
	linear := func(name string, weight, bias data, rows, cols int64) {
		add(name+".weight", weight, rows, cols)
		add(name+".bias", bias, rows)
	}
	ones := func(w *layerWeights) []byte { return w.ones }
	norm(n.finalNorm, func(w *layerWeights) []byte { return w.final })
	for layer = range p.Layers {
		prefix = fmt.Sprintf("%slayers.%d.", n.prefix, layer)
		norm(n.attnNorm, ones)
		linear(n.attention+"q_proj", func(w *layerWeights) []byte { return w.q }, zeros, d, d)
		linear(n.attention+"k_proj", func(w *layerWeights) []byte { return w.k }, zeros, d, d)
		linear(n.attention+"v_proj", func(w *layerWeights) []byte { return w.v }, zeros, d, d)
		linear(n.attention+n.out, func(w *layerWeights) []byte { return w.out }, func(w *layerWeights) []byte { return w.outBias }, d, d)
		norm(n.mlpNorm, ones)
		linear(n.first, func(w *layerWeights) []byte { return w.first }, func(w *layerWeights) []byte { return w.firstBias }, ffn, d)
		if p.NeuronParts == 3 {
			linear(n.second, func(w *layerWeights) []byte { return w.second }, func(w *layerWeights) []byte { return w.secondBias }, ffn, d)
		}
		linear(n.down, func(w *layerWeights) []byte { return w.down }, func(w *layerWeights) []byte { return w.downBias }, d, ffn)
	}
	return list
}
