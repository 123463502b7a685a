package config

import "strconv"

// A TensorShape is a tensor that a model is made of, by a name that no family has.
type TensorShape struct {
	Name       string
	Rows, Cols int  // a vector has one row, or one for each expert
	Vector     bool // small: always resident, as float32 elements
}

// SharedTensors are those that belong to no layer, as package pack documents them.
func (p ModelProfile) SharedTensors() []TensorShape {
	var l tensorList
	d, e := p.HiddenSize, p.EmbedDim
	l.matrix("embed.tokens", p.VocabSize, e)
	if p.LearnedPositions {
		l.matrix("embed.positions", p.MaxPositions+p.PositionOffset, d)
	}
	if e != d {
		l.matrix("project.in", d, e)
		l.matrix("project.out", e, d)
	}
	if p.FinalNorm {
		l.norm(p, "final_norm", d)
	}
	if !p.TiedHead {
		l.matrix("head", p.VocabSize, e)
	}
	for _, k := range p.Kinds {
		if k.RoPE.Divisors {
			l.vector("rope.divisors", k.RoPE.Dims/2)
			break
		}
	}
	return l
}

// LayerTensors are those of one layer, but for the neurons that are stored as
// bundles: see NeuronTensors.
func (p ModelProfile) LayerTensors(layer int) []TensorShape {
	l := tensorList{}
	at := layerPrefix(layer)
	d, q, kv := p.HiddenSize, p.QueryDim(), p.KVDim()
	l.norm(p, at+"attn_norm", d)
	l.linear(at+"attn.q", q, d, p.Bias || p.QKVBias)
	l.linear(at+"attn.k", kv, d, p.Bias || p.QKVBias)
	l.linear(at+"attn.v", kv, d, p.Bias || p.QKVBias)
	l.linear(at+"attn.o", d, q, p.Bias || p.OutBias)
	switch p.QKNorm {
	case QKNormPerHead:
		l.norm(p, at+"attn.q_norm", p.HeadDim())
		l.norm(p, at+"attn.k_norm", p.HeadDim())
	case QKNormWhole:
		l.norm(p, at+"attn.q_norm", q)
		l.norm(p, at+"attn.k_norm", kv)
	}
	if p.Sinks {
		l.vector(at+"attn.sinks", p.Heads)
	}
	if p.SandwichNorm {
		l.norm(p, at+"attn_post_norm", d)
	}
	l.norm(p, at+"mlp_norm", d)
	if p.MoE(layer).Experts > 0 {
		l.moe(p, layer)
	}
	for _, t := range p.NeuronTensors(layer) {
		if !p.Sparse() {
			l = append(l, t)
		}
		if p.Bias || p.MLPBias {
			l.vector(t.Name[:len(t.Name)-len("weight")]+"bias", t.Rows)
		}
	}
	if p.SandwichNorm {
		l.norm(p, at+"mlp_post_norm", d)
	}
	return l
}

// NeuronTensors are the matrices of a layer's MLP in the order of a neuron's
// parts, none where it is experts. Neuron i is row i of all but the last, and column
// i of that.
func (p ModelProfile) NeuronTensors(layer int) []TensorShape {
	var l tensorList
	if p.MoE(layer).Experts > 0 {
		return nil
	}
	at, ffn := layerPrefix(layer), p.DenseWidth(layer)
	if p.NeuronParts == 3 {
		l.matrix(at+"mlp.gate.weight", ffn, p.HiddenSize)
	}
	l.matrix(at+"mlp.up.weight", ffn, p.HiddenSize)
	l.matrix(at+"mlp.down.weight", p.HiddenSize, ffn)
	return l
}

// Weights is how many numbers a model is made of, and with how many of them a token is
// computed: all but the experts that it does not use.
func (p ModelProfile) Weights() (all, active int64) {
	add := func(shapes []TensorShape) {
		for _, s := range shapes {
			all += int64(max(1, s.Rows)) * int64(s.Cols)
		}
	}
	add(p.SharedTensors())
	left := int64(0)
	for i := range p.Layers {
		add(p.LayerTensors(i))
		if p.Sparse() {
			add(p.NeuronTensors(i))
		}
		m := p.MoE(i)
		for _, x := range p.ExpertTensors(i) {
			n := int64(x.Rows) * int64(x.Cols)
			all += int64(m.Experts) * n
			if m.Bias {
				n += int64(x.Rows)
			}
			left += int64(m.Experts-m.TopK) * n
		}
	}
	return all, all - left
}

func layerPrefix(layer int) string { return "layers." + strconv.Itoa(layer) + "." }

type tensorList []TensorShape

func (l *tensorList) matrix(name string, rows, cols int) {
	*l = append(*l, TensorShape{Name: name, Rows: rows, Cols: cols})
}

func (l *tensorList) vector(name string, n int) {
	*l = append(*l, TensorShape{Name: name, Rows: 1, Cols: n, Vector: true})
}

func (l *tensorList) linear(name string, rows, cols int, bias bool) {
	l.matrix(name+".weight", rows, cols)
	if bias {
		l.vector(name+".bias", rows)
	}
}

func (l *tensorList) norm(p ModelProfile, name string, n int) {
	if !p.NormAffine {
		return
	}
	l.vector(name+".weight", n)
	if p.Norm == LayerNorm {
		l.vector(name+".bias", n)
	}
}
