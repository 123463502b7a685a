package lowrank

import (
	"fmt"
	"math"
)

// Quality is how well scores tell active neurons from silent ones. Shares are
// of all neurons of all tokens. The neurons computed are those whose score is
// above one bar for all tokens, set so that their number is Multiple times the
// number of active ones; a token that fires many neurons may compute more.
type Quality struct {
	Tokens         int
	Multiple       float64
	Active         float64 // share of neurons that are active
	Computed       float64 // share of neurons computed
	Recall         float64 // share of active neurons that are computed
	RecallWeighted float64 // the same, weighted by |activation|
	Precision      float64 // share of computed neurons that are active
	Positive       float64 // share of neurons whose score is above zero
	Loss           float64 // mean loss per active neuron, see Train
}

// Measure is the quality of f on data.
func Measure(f Factors, data *Data, o Options) (Quality, error) {
	if err := o.validate("measure"); err != nil {
		return Quality{}, err
	}
	if err := f.check("measure"); err != nil {
		return Quality{}, err
	}
	if err := data.check("measure", "given", f.D, f.FFN); err != nil {
		return Quality{}, err
	}
	return newMeter(f, o, data.meanValue()).measure(f, data, o.Multiple), nil
}

// meter measures factors of one shape, batch by batch, in memory that does
// not grow with the number of tokens: scores go into a histogram.
type meter struct {
	p      pool
	loss   loss
	batch  int
	z, s   []float32 // [batch, rank], [batch, ffn]
	losses []float64 // [batch]
	hist   histogram
}

func newMeter(f Factors, o Options, mean float64) *meter {
	return &meter{
		p: newPool(o.Threads), loss: loss{mean: mean, negative: o.Negative}, batch: o.Batch,
		z: make([]float32, o.Batch*f.Rank), s: make([]float32, o.Batch*f.FFN), losses: make([]float64, o.Batch),
		hist: histogram{bins: make([]bin, bins)},
	}
}

// measure is the quality of f on data, which both fit the meter.
func (m *meter) measure(f Factors, data *Data, multiple float64) Quality {
	m.fill(f, data, data.Tokens())
	all := float64(data.Tokens()) * float64(data.ffn)
	active := float64(len(data.ids))
	want := math.Min(all, math.Ceil(multiple*active))
	cut := m.hist.cut(want)
	return Quality{
		Tokens: data.Tokens(), Multiple: multiple,
		Active: active / all, Computed: want / all,
		Recall: cut.hits / active, RecallWeighted: cut.weight / m.hist.weight, Precision: cut.hits / want,
		Positive: m.hist.positive / all, Loss: m.hist.loss / active,
	}
}

// shift is the bar above which as many scores lie as neurons are active in
// the first tokens of data.
func (m *meter) shift(f Factors, data *Data, tokens int) float32 {
	m.fill(f, data, tokens)
	return m.hist.cut(m.hist.active).bar
}

// fill replaces the histogram by that of the first tokens of data.
func (m *meter) fill(f Factors, data *Data, tokens int) {
	clear(m.hist.bins)
	m.hist = histogram{bins: m.hist.bins}
	for from := 0; from < tokens; from += m.batch {
		n := min(m.batch, tokens-from)
		s := m.s[:n*f.FFN]
		f.scores(m.p, n, data.x[from*data.d:], m.z, s)
		for i := range n {
			m.hist.add(s[i*f.FFN:][:f.FFN], data, from+i)
		}
		m.p.spans(n, 8, func(i, to int) {
			for ; i < to; i++ {
				m.losses[i] = m.loss.descend(s[i*f.FFN:][:f.FFN], data, from+i)
			}
		})
		for _, v := range m.losses[:n] {
			m.hist.loss += v
		}
	}
}

// bins cover the float32 by their upper 16 bits: 128 bins an octave, so that
// a bar is within 1/128 of exact and, by interpolation within its bin, the
// number of scores above it too.
const bins = 1 << 16

type bin struct {
	count, hits int64   // scores, and those of active neurons
	weight      float64 // sum of the hits' activations
}

// histogram is the distribution of scores. It is filled by one goroutine in
// token order, so that its sums are always the same.
type histogram struct {
	bins     []bin   // [bins]
	active   float64 // active neurons
	weight   float64 // the sum of their activations
	positive float64 // scores above zero
	loss     float64 // sum over tokens
}

func (h *histogram) add(scores []float32, data *Data, t int) {
	for _, v := range scores {
		h.bins[binOf(v)].count++
		if v > 0 {
			h.positive++
		}
	}
	ids, values := data.active(t)
	for i, id := range ids {
		b := &h.bins[binOf(scores[id])]
		b.hits++
		b.weight += float64(values[i])
		h.weight += float64(values[i])
	}
	h.active += float64(len(ids))
}

// cut is what lies above a bar; where the bar cuts a bin, the bin's scores
// are taken to be spread evenly, active or not.
type cut struct {
	bar          float32
	hits, weight float64
}

// cut finds the bar with want scores above it.
func (h *histogram) cut(want float64) (c cut) {
	for i := len(h.bins) - 1; i >= 0; i-- {
		b := h.bins[i]
		if b.count == 0 {
			continue
		}
		share := math.Min(1, want/float64(b.count))
		c.hits += share * float64(b.hits)
		c.weight += share * b.weight
		want -= share * float64(b.count)
		low, high := binEdge(i), binEdge(i+1)
		c.bar = float32(high + share*(low-high))
		if want <= 0 {
			break
		}
	}
	return c
}

// binOf orders bins as their scores: the bits of a float32, flipped where it
// is negative, are ordered as it is.
func binOf(v float32) int {
	bits := math.Float32bits(v)
	return int((bits ^ (uint32(int32(bits)>>31) | 1<<31)) >> 16)
}

// binEdge is the lowest score of bin i.
func binEdge(i int) float64 {
	bits := uint32(i) << 16
	if bits>>31 != 0 {
		return float64(math.Float32frombits(bits ^ 1<<31))
	}
	return float64(math.Float32frombits(^bits))
}

func (q Quality) String() string {
	return fmt.Sprintf("recall %.4f, weighted %.4f, precision %.4f at %.4g times the active share of %.4f",
		q.Recall, q.RecallWeighted, q.Precision, q.Multiple, q.Active)
}
