package placement

import (
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/weights"
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
		{"staging", p.stagingBytes() + weights.QueueBytes},
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
	p.Token = p.traffic(p.Slots[0])
}

// traffic is what a token is expected to move: all matrices, a row of each
// table, predictors, and the neurons it computes. In predicted mode that is
// the share that the calibration measured, or assumedWanted without one, no
// hotter than the others: a profile will tell better.
func (p *planner) traffic(slots int) PerToken {
	wanted := p.in.Wanted
	if wanted == 0 {
		wanted = assumedWanted
	}
	t := PerToken{FastBytes: p.vectors + p.predictorBytes}
	matrix := func(x pack.Tensor, n int64) {
		t.FastBytes += n
		if !p.Resident[x.Name] {
			t.SlowBytes += n
		}
	}
	for _, x := range p.matrices {
		matrix(x, x.Bytes())
	}
	for _, x := range p.rowTables {
		matrix(x, x.RowBytes)
	}
	missing := 1 - float64(slots)/float64(p.profile.FFN)
	for l := range p.profile.Layers {
		computed := float64(p.profile.FFN)
		if p.Predicted[l] {
			computed *= wanted
		}
		t.FastBytes += int64(computed * float64(p.in.Layout.BundleBytes()))
		t.SlowBytes += int64(missing * computed * float64(p.stride))
	}
	return t
}
