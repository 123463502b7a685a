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

// tensors lists a checkpoint's tensors in the order of the weight file: the
// embeddings, then layer by layer.
func tensors(p config.ModelProfile) []stored {
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	ones := func(w *layerWeights) []byte { return w.ones }
	zeros := func(w *layerWeights) []byte { return w.zeros }
	prefix, layer := "model.decoder.", -1
	list := []stored{
		{name: prefix + "embed_tokens.weight", shape: []int64{int64(p.VocabSize), d}, layer: -1, rows: (*space).tokenRows},
		{name: prefix + "embed_positions.weight", shape: []int64{int64(p.MaxPositions + p.PositionOffset), d}, layer: -1, rows: (*space).positionRows},
	}
	add := func(name string, data func(w *layerWeights) []byte, shape ...int64) {
		list = append(list, stored{name: prefix + name, shape: shape, layer: layer, data: data})
	}
	add("final_layer_norm.weight", func(w *layerWeights) []byte { return w.final }, d)
	add("final_layer_norm.bias", zeros, d)
	for layer = range p.Layers {
		prefix = fmt.Sprintf("model.decoder.layers.%d.", layer)
		add("self_attn_layer_norm.weight", ones, d)
		add("self_attn_layer_norm.bias", zeros, d)
		add("self_attn.q_proj.weight", func(w *layerWeights) []byte { return w.q }, d, d)
		add("self_attn.q_proj.bias", zeros, d)
		add("self_attn.k_proj.weight", func(w *layerWeights) []byte { return w.k }, d, d)
		add("self_attn.k_proj.bias", zeros, d)
		add("self_attn.v_proj.weight", func(w *layerWeights) []byte { return w.v }, d, d)
		add("self_attn.v_proj.bias", zeros, d)
		add("self_attn.out_proj.weight", func(w *layerWeights) []byte { return w.out }, d, d)
		add("self_attn.out_proj.bias", func(w *layerWeights) []byte { return w.outBias }, d)
		add("final_layer_norm.weight", ones, d)
		add("final_layer_norm.bias", zeros, d)
		add("fc1.weight", func(w *layerWeights) []byte { return w.up }, ffn, d)
		add("fc1.bias", func(w *layerWeights) []byte { return w.upBias }, ffn)
		add("fc2.weight", func(w *layerWeights) []byte { return w.down }, d, ffn)
		add("fc2.bias", func(w *layerWeights) []byte { return w.downBias }, d)
	}
	return list
}
