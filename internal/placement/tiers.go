package placement

import (
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Tier is a kind of memory and what lives in it.
type Tier struct {
	Name  string
	Bytes int64
	Items []Item
}

// Item is one thing that a tier holds.
type Item struct {
	What  string
	Bytes int64
}

// describe fills in the tiers and the expected traffic.
func (p *planner) describe() {
	fast := Tier{Name: "fast (RAM)", Items: []Item{
		{"attention, embeddings and head", p.residentBytes},
		{"norms and biases", p.vectors},
		{"predictors", p.predictorBytes},
		{"neuron slots", p.slotBytes},
		{"KV cache", p.KVBytes},
		{"activations", p.in.ScratchBytes(p.Chunk)},
		{"staging", p.stagingBytes() + disk.QueueBytes},
		{"tables and tokenizer", p.tables},
		{"runtime", runtimeBytes},
	}}
	slow := Tier{Name: "slow (pack file)", Items: []Item{
		{"neurons without a slot", p.neuronSlots(p.profile.FFN) - p.slotBytes},
		{"matrices that stream", p.matrixB - p.residentBytes},
	}}
	p.Tiers = []Tier{fast, slow}
	for i := range p.Tiers {
		for _, it := range p.Tiers[i].Items {
			p.Tiers[i].Bytes += it.Bytes
		}
	}
	p.Token = p.traffic()
}

// traffic is what a token is expected to move: all matrices, a row of each
// table, predictors, and the neurons it computes. In predicted mode that is
// the share that the calibration measured, or assumedWanted without one, as hot as
// a profile says or, without one, no hotter than the others.
func (p *planner) traffic() PerToken {
	wanted := p.in.Wanted
	if wanted == 0 {
		wanted = assumedWanted
	}
	t := PerToken{FastBytes: p.vectors + p.predictorBytes}
	matrix := func(x pack.Tensor, n int64) {
		t.FastBytes += n
		if !p.Resident[x.Name] {
			t.SlowBytes += n
			t.StreamedBytes += n
		}
	}
	for _, x := range p.matrices {
		matrix(x, x.Bytes())
	}
	for _, x := range p.rowTables {
		matrix(x, x.RowBytes)
	}
	for l := range p.profile.Layers {
		computed := float64(p.profile.FFN)
		if p.Predicted[l] {
			computed *= wanted
		}
		bytes := int64(computed * float64(p.in.Layout.BundleBytes()))
		t.FastBytes += bytes
		switch complete := p.Slots[l] == p.profile.FFN; {
		case complete && !p.Predicted[l]:
			t.CompleteBytes += bytes
		default:
			t.NeuronBytes += bytes
			if !complete && p.Predicted[l] && p.in.Strategy.AsyncTransfer {
				t.FastBytes += p.predictor(l) // once more, for the forecast
			}
		}
		t.SlowBytes += int64(p.missing(l) * computed * float64(p.stride))
	}
	return t
}

// Rates are how many bytes of weights a machine multiplies in a second, from
// memory, and how many it reads.
type Rates struct {
	Rows     float64 // rows of matrices, in order
	Neurons  float64 // neurons that lie apart
	Complete float64 // all neurons of layers
	Random   float64 // read from the pack, neuron by neuron
	InOrder  float64 // read from the pack, in order
}

// Seconds is how long a token takes if products with weights are all that takes
// time, and reading and computing come one after the other.
func (t PerToken) Seconds(r Rates) float64 {
	rows := t.FastBytes - t.NeuronBytes - t.CompleteBytes
	return float64(rows)/r.Rows + float64(t.NeuronBytes)/r.Neurons + float64(t.CompleteBytes)/r.Complete +
		float64(t.SlowBytes-t.StreamedBytes)/r.Random + float64(t.StreamedBytes)/r.InOrder
}
