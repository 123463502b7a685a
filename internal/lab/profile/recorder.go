package profile

import (
	"math"
	"math/bits"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

const (
	folds     = 10 // parts of the tokens that are counted apart
	foldBlock = 64 // consecutive tokens of one fold
)

// Recording is what a text did to the MLPs of a model.
type Recording struct {
	Tokens int // of the text, and positions counted
	Window int // tokens in one run of the model; a shorter window ends the text
	FFN    int
	Kept   int // tokens, from the first on, whose sets are kept
	layers []layerRecording
}

// layerRecording is one layer's.
type layerRecording struct {
	folds     [folds][]uint32 // [ffn] tokens of the fold at which the neuron was active
	sets      sets            // [kept tokens]
	previous  cosine          // input of the layer before against this one's
	lookahead cosine          // forecast of the input against the input
}

// Counts adds the folds up.
func (r *Recording) Counts() cache.Counts {
	c := cache.Counts{Tokens: r.Tokens, Neurons: make([][]uint32, len(r.layers))}
	for l := range r.layers {
		c.Neurons[l] = r.layers[l].counts()
	}
	return c
}

// counts is how often each neuron was active, [ffn].
func (l *layerRecording) counts() []uint32 {
	sum := make([]uint32, len(l.folds[0]))
	for _, f := range l.folds {
		for i, n := range f {
			sum[i] += n
		}
	}
	return sum
}

// sets are sets of neurons, one for each token, a bit for each neuron.
type sets struct {
	words int      // of one token
	bits  []uint64 // [tokens, words]
}

func newSets(tokens, ffn int) sets {
	words := (ffn + 63) / 64
	return sets{words, make([]uint64, tokens*words)}
}

func (s sets) len() int {
	if s.words == 0 {
		return 0
	}
	return len(s.bits) / s.words
}

func (s sets) at(token int) []uint64 { return s.bits[token*s.words:][:s.words] }

func (s sets) add(token, neuron int) { s.at(token)[neuron>>6] |= 1 << (neuron & 63) }

// appendTo appends the neurons of a token, ascending.
func (s sets) appendTo(ids []int32, token int) []int32 {
	for w, b := range s.at(token) {
		for ; b != 0; b &= b - 1 {
			ids = append(ids, int32(w<<6+bits.TrailingZeros64(b)))
		}
	}
	return ids
}

// KeptBytes is the memory that the sets of tokens tokens take.
func KeptBytes(p config.ModelProfile, tokens int) int64 {
	return int64(p.Layers) * int64(tokens) * 8 * int64((p.FFN+63)/64)
}

// CountBytes is the memory that counting takes besides the kept sets.
func CountBytes(p config.ModelProfile) int64 { return p.Neurons() * 4 * (folds + 1) }

// cosine is a mean of cosines.
type cosine struct {
	sum float64
	n   int
}

// add counts the cosine of two vectors; vectors of zeros have none.
func (c *cosine) add(a, b []float32) {
	var ab, aa, bb float64
	for i, x := range a {
		y := b[i]
		ab += float64(x) * float64(y)
		aa += float64(x) * float64(x)
		bb += float64(y) * float64(y)
	}
	if aa > 0 && bb > 0 {
		c.sum += ab / math.Sqrt(aa*bb)
		c.n++
	}
}

// recorder fills a Recording from the engine's hooks. For each piece of a
// window and each layer the engine calls input once, then neurons for one
// segment after another.
type recorder struct {
	out      *Recording
	progress func(done, total int64)
	done     int64      // layers x tokens
	pieces   []piece    // [layers]
	before   device.Act // input of the layer before, [tokens, d]
}

// piece is the tokens that a layer is at.
type piece struct{ first, n int }

func newRecorder(p config.ModelProfile, tokens int, in Input) *recorder {
	r := &recorder{
		out:      &Recording{Tokens: tokens, Window: in.Window, FFN: p.FFN, layers: make([]layerRecording, p.Layers)},
		progress: in.Progress,
		pieces:   make([]piece, p.Layers),
	}
	r.out.Kept = int(min(int64(tokens), max(in.KeepBytes, 0)/KeptBytes(p, 1)))
	for i := range r.out.layers {
		l := &r.out.layers[i]
		l.sets = newSets(r.out.Kept, p.FFN)
		for f := range l.folds {
			l.folds[f] = make([]uint32, p.FFN)
		}
	}
	return r
}

// input takes the inputs of a piece.
func (r *recorder) input(layer int, ahead, exact device.Act) {
	p, l := &r.pieces[layer], &r.out.layers[layer]
	p.first += p.n
	p.n = exact.Rows
	if layer == 0 && r.before.Rows < exact.Rows {
		r.before = device.NewAct(exact.Rows, exact.Cols)
	}
	for t := range exact.Rows {
		l.lookahead.add(ahead.Row(t), exact.Row(t))
		if layer > 0 {
			l.previous.add(r.before.Row(t), exact.Row(t))
		}
		copy(r.before.Row(t), exact.Row(t))
	}
	r.done += int64(exact.Rows)
	if r.progress != nil {
		r.progress(r.done, int64(r.out.Tokens)*int64(len(r.pieces)))
	}
}

// neurons takes the activations h [neurons, tokens] of the neurons ids.
func (r *recorder) neurons(layer, tokens int, ids []int32, h []float32) {
	first, l := r.pieces[layer].first, &r.out.layers[layer]
	for i, id := range ids {
		for t, v := range h[i*tokens:][:tokens] {
			if v == 0 {
				continue
			}
			token := first + t
			l.folds[token/foldBlock%folds][id]++
			if token < r.out.Kept {
				l.sets.add(token, int(id))
			}
		}
	}
}
