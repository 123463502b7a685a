package synth

import "fmt"

// tensors lists a checkpoint's tensors in the order of its files: the
// embeddings, then layer by layer.
func tensors(o Options) []stored {
	p := o.Profile
	d := int64(p.HiddenSize)
	const prefix = "model.decoder."
	final := func(m *model) []byte { return m.weights.final }
	zeros := func(m *model) []byte { return m.weights.zeros }
	list := []stored{
		{name: prefix + "embed_tokens.weight", shape: []int64{int64(p.VocabSize), d}, layer: -1, rows: (*space).tokenRows},
		{name: prefix + "embed_positions.weight", shape: []int64{int64(p.MaxPositions + p.PositionOffset), d}, layer: -1, rows: (*space).positionRows},
		{name: prefix + "final_layer_norm.weight", shape: []int64{d}, layer: -1, data: final},
		{name: prefix + "final_layer_norm.bias", shape: []int64{d}, layer: -1, data: zeros},
	}
	for l := range p.Layers {
		list = append(list, layerTensors(fmt.Sprintf("%slayers.%d.", prefix, l), l, d, int64(p.FFN))...)
	}
	return list
}

// layerTensors lists layer l's.
func layerTensors(prefix string, l int, d, ffn int64) []stored {
	var list []stored
	add := func(name string, data func(w *layerWeights) []byte, shape ...int64) {
		list = append(list, stored{name: prefix + name, shape: shape, layer: l,
			data: func(m *model) []byte { return data(m.weights) }})
	}
	ones := func(w *layerWeights) []byte { return w.ones }
	zeros := func(w *layerWeights) []byte { return w.zeros }
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
	return list
}
