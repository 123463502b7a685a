package synth

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// A mixture is the experts of a layer.
type mixture struct{ experts, topK, width int }

// The architectures with experts, as GGUF has them.
const (
	qwenExperts = "qwen3moe"
	gptOSS      = "gpt-oss"
)

// mixtures lists models with experts.
func mixtures() []ggufShape {
	return []ggufShape{
		{"qwen3-30b-a3b", qwenExperts, 2048, 48, 32, 4, 128, 6144, 151936, 40960, 1e6, false, mixture{128, 8, 768}},
		{"gpt-oss-20b", gptOSS, 2880, 24, 64, 8, 64, 2880, 201088, 131072, 1.5e5, false, mixture{32, 4, 2880}},
		{"mini-moe", qwenExperts, 1024, 12, 16, 4, 64, 4096, 32768, 40960, 1e6, false, mixture{64, 8, 512}},
	}
}

// How gpt-oss scales RoPE and what its windows are.
const (
	yarnFactor   = 32
	yarnBefore   = 4096
	gptOSSWindow = 128
)

// Of routing, which is what real models' is like in notes on recorded routes: see the
// package doc.
const (
	marks       = 32    // coordinates of the direction u
	routeNoise  = 2.2   // deviation over tokens of an expert's logit, beside log popularity
	routeTemper = 0.35  // of logits: weights of the chosen differ no more than real ones do
	firstAttn   = 1.6   // variance that the first layer's attention adds, in the embeddings'
	growth      = 0.015 // variance that every other sublayer adds, in the stream's
	longValues  = 1.8   // an average over more tokens is smaller: scale of the values of such heads
	recency     = 0.5   // share of what tells distance in the squares of queries and keys
)

// Means of the squares of what activation functions make of normal gates and ups, and
// the sum of the squares of weights of the chosen experts times their number.
const (
	siluSquare    = 0.356
	clampedSquare = 0.844
	weightSquares = 1.4
)

// coarse is x to an eighth of an octave, so that layers share pieces.
func coarse(x float64) float64 { return math.Exp2(math.Round(8*math.Log2(x)) / 8) }

// popularity is the number of ranks over which experts become e times less popular.
func (s ggufShape) popularity(layer int) float64 {
	share := 0.10
	switch {
	case layer == 0:
		share = 0.2
	case layer >= s.layers-s.layers/3:
		share = 0.08
	}
	return share * float64(s.experts)
}

// A mixtureList collects a model's tensors. variance is that of the stream's part that
// differs between tokens, in units of the embeddings'; u's is 1.
type mixtureList struct {
	ggufShape
	of       quants
	layer    int
	variance float64
	list     []drawnTensor
}

// mixtureTensors lists what a model with experts holds.
func (s ggufShape) mixtureTensors(of quants) []drawnTensor {
	m := &mixtureList{ggufShape: s, of: of, variance: 1}
	d, vocab := s.hidden, s.vocab
	root := math.Sqrt(float64(d) / marks)
	m.matrix(tensor.EmbeddingRole, "token_embd", vocab, d, func(int) rowDraw {
		return rowDraw{deviation: tokenDeviation, marked: true, head: tokenDeviation * root}
	})
	for m.layer = range s.layers {
		m.attention()
		m.mixture()
	}
	m.layer = 0
	m.norm("output_norm", d)
	unit := 2 * m.unit()
	m.matrix(tensor.HeadRole, "output", vocab, d, func(int) rowDraw { return rowDraw{deviation: unit, marked: true} })
	return m.list
}

// unit is the deviation of a matrix that makes values of variance 1 of the norm of the
// stream, and seen is one coordinate of u there.
func (m *mixtureList) unit() float64 { return math.Sqrt((1 + 1/m.variance) / float64(m.hidden)) }
func (m *mixtureList) seen() float64 {
	return math.Sqrt(float64(m.hidden) / marks / (1 + m.variance))
}

// at is the name of a tensor of the layer.
func (m *mixtureList) at(name string) string { return fmt.Sprintf("blk.%d.%s", m.layer, name) }

func (m *mixtureList) matrix(role tensor.Role, name string, rows, cols int, row func(int) rowDraw) {
	p := tensor.Place{Role: role, Layer: m.layer, Layers: m.layers, Experts: m.experts, Cols: cols}
	m.list = append(m.list, drawnTensor{name: name + ".weight", shape: []int64{int64(rows), int64(cols)}, dtype: m.of.matrix(p), row: row})
}

// parts are the matrices of one part of all experts.
func (m *mixtureList) parts(role tensor.Role, name string, rows, cols int, row func(int) rowDraw) {
	p := tensor.Place{Role: role, Layer: m.layer, Layers: m.layers, Experts: m.experts, Cols: cols}
	m.list = append(m.list, drawnTensor{
		name: m.at(name) + ".weight", shape: []int64{int64(m.experts), int64(rows), int64(cols)}, dtype: m.of.expert(p),
		row: func(i int) rowDraw { return row(i % rows) },
	})
}

// values are n numbers in F32 of a mean and a deviation; in runs of run, the first keep
// are the mean.
func (m *mixtureList) values(name string, shape []int64, mean, deviation float64, run, keep int) {
	n := int64(1)
	for _, x := range shape {
		n *= x
	}
	m.list = append(m.list, drawnTensor{name: name, shape: shape, dtype: tensor.F32, values: func(normals *normalTable, s stream) []float32 {
		v := make([]float32, n)
		normals.draw(v, &s, float32(deviation))
		for i := range v {
			if i%run < keep {
				v[i] = 0
			}
			v[i] += float32(mean)
		}
		return v
	}})
}

// norm leaves u as it is.
func (m *mixtureList) norm(name string, n int) {
	m.values(name+".weight", []int64{int64(n)}, 1, 1./16, n, marks)
}

// bias is one that all gpt-oss's matrices have; what writes to the stream writes nothing
// to u's coordinates.
func (m *mixtureList) bias(name string, deviation float64, keep int, shape ...int64) {
	if m.arch == gptOSS {
		m.values(m.at(name)+".bias", shape, 0, deviation, int(shape[len(shape)-1]), keep)
	}
}

// plain are rows that see nothing of u, and writes rows that write nothing to it.
func plain(deviation float64) func(int) rowDraw {
	draw := rowDraw{deviation: coarse(deviation), marked: true}
	return func(int) rowDraw { return draw }
}

func writes(deviation float64) func(int) rowDraw {
	draw := rowDraw{deviation: coarse(deviation)}
	return func(row int) rowDraw {
		if row < marks {
			return rowDraw{}
		}
		return draw
	}
}

// slow reports whether a key-value head averages many tokens.
func (m *mixtureList) slow(kvHead int) bool { return kvHead >= m.kvHeads/2 }

// recent says how rows of queries or keys are drawn: some pairs of elements that rotate
// have a part that all tokens have in common, so that scores fall with distance: soon
// where the pairs rotate fast.
func (m *mixtureList) recent(group int) func(int) rowDraw {
	half := m.headDim / 2
	var pairs [2][]bool // [slow][half]
	var scale [2]float64
	unit := m.unit()
	for slow, band := range [][2]float64{{0.2, 0.55}, {0.03, 0.06}} {
		pairs[slow] = make([]bool, half)
		n := 0.0
		for i := range half {
			theta := math.Pow(float64(m.base), -float64(i)/float64(half))
			if pairs[slow][i] = theta > band[0] && theta < band[1]; pairs[slow][i] {
				n++
			}
		}
		scale[slow] = math.Sqrt(recency / (1 - recency) * float64(m.headDim) / (2 * n))
	}
	if m.arch == gptOSS {
		// There are no norms of queries and keys, and YaRN makes both larger: they are
		// drawn so that scores are as they were after such norms.
		yarn := 0.1*math.Log(yarnFactor) + 1
		unit *= math.Sqrt(1-recency) / yarn
		for slow := range scale {
			scale[slow] *= math.Sqrt(1-recency) / yarn
		}
	}
	draw := rowDraw{deviation: coarse(unit), marked: true}
	common := [2]float64{coarse(scale[0] / (marks * m.seen())), coarse(scale[1] / (marks * m.seen()))}
	return func(row int) rowDraw {
		slow, draw := 0, draw
		if m.slow(row / m.headDim / group) {
			slow = 1
		}
		if pairs[slow][row%half] {
			draw.head = common[slow]
		}
		return draw
	}
}

func (m *mixtureList) attention() {
	d, q, kv := m.hidden, m.heads*m.headDim, m.kvHeads*m.headDim
	m.norm(m.at("attn_norm"), d)
	m.matrix(tensor.OtherRole, m.at("attn_q"), q, d, m.recent(m.heads/m.kvHeads))
	m.matrix(tensor.AttnKRole, m.at("attn_k"), kv, d, m.recent(1))
	short, long := plain(m.unit()), plain(longValues*m.unit())
	m.matrix(tensor.AttnVRole, m.at("attn_v"), kv, d, func(row int) rowDraw {
		if m.slow(row / m.headDim) {
			return long(row)
		}
		return short(row)
	})
	const small = 0.02
	m.bias("attn_q", small, 0, int64(q))
	m.bias("attn_k", small, 0, int64(kv))
	m.bias("attn_v", small, 0, int64(kv))
	if m.arch == gptOSS {
		m.values(m.at("attn_sinks")+".weight", []int64{int64(m.heads)}, 0, 1, 1, 0)
	} else {
		m.values(m.at("attn_q_norm")+".weight", []int64{int64(m.headDim)}, 1, 0, 1, 0)
		m.values(m.at("attn_k_norm")+".weight", []int64{int64(m.headDim)}, 1, 0, 1, 0)
	}
	added := growth * m.variance
	if m.layer == 0 {
		added = firstAttn
	}
	// What averages over about 2 and about 16 tokens leave of the values' variance.
	const left = (0.38 + longValues*longValues/14) / 2
	deviation := tokenDeviation * math.Sqrt(added/(float64(q)*left))
	m.matrix(tensor.AttnOutRole, m.at("attn_output"), d, q, writes(deviation))
	m.bias("attn_output", small*tokenDeviation, marks, int64(d))
	m.variance += added
}

func (m *mixtureList) mixture() {
	d, width, experts := m.hidden, m.width, int64(m.experts)
	square, norm := siluSquare, "ffn_norm"
	if m.arch == gptOSS {
		square, norm = clampedSquare, "post_attention_norm"
	}
	m.norm(m.at(norm), d)
	m.list = append(m.list, drawnTensor{
		name: m.at("ffn_gate_inp") + ".weight", shape: []int64{experts, int64(d)}, dtype: tensor.F32, values: m.router(),
	})
	const small = 0.02
	m.bias("ffn_gate_inp", small, 0, experts)
	added := growth * m.variance
	m.parts(tensor.OtherRole, "ffn_gate_exps", width, d, plain(m.unit()))
	m.parts(tensor.OtherRole, "ffn_up_exps", width, d, plain(m.unit()))
	deviation := tokenDeviation * math.Sqrt(added/(float64(width)*square*weightSquares/float64(m.topK)))
	m.parts(tensor.DownRole, "ffn_down_exps", d, width, writes(deviation))
	m.bias("ffn_gate_exps", small, 0, experts, int64(width))
	m.bias("ffn_up_exps", small, 0, experts, int64(width))
	m.bias("ffn_down_exps", small*tokenDeviation, marks, experts, int64(d))
	m.variance += added
}

// router draws the layer's router: u gives each expert its log popularity, the rest of
// a row noise over tokens.
func (m *mixtureList) router() func(*normalTable, stream) []float32 {
	d, experts, noise := m.hidden, m.experts, routeTemper*routeNoise*m.unit()
	fall := routeTemper / m.popularity(m.layer) / (marks * m.seen())
	return func(normals *normalTable, s stream) []float32 {
		v := make([]float32, experts*d)
		normals.draw(v, &s, float32(noise))
		rank := make([]int, experts) // a permutation (Fisher and Yates)
		for i := range rank {
			j := int(s.next() % uint64(i+1))
			rank[i], rank[j] = rank[j], i
		}
		for e, r := range rank {
			for j := range marks {
				v[e*d+j] = float32(-float64(r) * fall)
			}
		}
		return v
	}
}

// encodeMXFP4 narrows whole blocks of src to MXFP4 as GGUF stores it, as ggml's
// reference does (quantize_row_mxfp4_ref): the exponent is that of the largest value.
func encodeMXFP4(dst []byte, src []float32, _ tensor.DType) {
	values := [...]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6}
	for ; len(src) >= tensor.QuantBlock; src = src[tensor.QuantBlock:] {
		most := 0.0
		for _, v := range src[:tensor.QuantBlock] {
			most = max(most, math.Abs(float64(v)))
		}
		exponent := 0
		if most > 0 {
			exponent = max(0, math.Ilogb(most)-2+127)
		}
		dst[0] = byte(exponent)
		clear(dst[1:17])
		for i, v := range src[:tensor.QuantBlock] {
			size := math.Ldexp(math.Abs(float64(v)), 127-exponent)
			code := 0
			for c, x := range values {
				if math.Abs(x-size) < math.Abs(values[code]-size) {
					code = c
				}
			}
			if v < 0 {
				code |= 8
			}
			dst[1+i%16] |= byte(code << (i / 16 * 4))
		}
		dst = dst[17:]
	}
}
