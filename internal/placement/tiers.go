package placement

import "github.com/sparseflow/sparseflow/internal/config"

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
	perLayer := 0
	if len(p.Slots) > 0 {
		perLayer = p.Slots[0]
	}
	neurons := int64(p.profile.Layers) * int64(p.profile.FFN) * p.stride
	fast := Tier{Name: "fast (RAM)", Items: []Item{
		{"attention, embeddings and head", p.residentBytes},
		{"norms and biases", p.vectors},
		{"predictors", p.predictorBytes},
		{"neuron slots", p.slotBytes},
		{"KV cache", p.KVBytes},
		{"activations", p.in.ScratchBytes(p.Chunk)},
		{"staging", p.stagingBytes()},
		{"tables and tokenizer", p.tables},
		{"runtime", runtimeBytes},
	}}
	slow := Tier{Name: "slow (pack file)", Items: []Item{
		{"neurons without a slot", neurons - int64(perLayer)*int64(p.profile.Layers)*p.stride},
		{"matrices that stream", p.matrixB - p.residentBytes},
	}}
	p.Tiers = []Tier{fast, slow}
	for i := range p.Tiers {
		for _, it := range p.Tiers[i].Items {
			p.Tiers[i].Bytes += it.Bytes
		}
	}
	p.Token = p.traffic(perLayer)
}

// traffic is what a token is expected to move: all matrices and predictors
// once, and the neurons it computes. In predicted mode that is assumedWanted
// of them, no hotter than the others; once a profile is known both get better.
func (p *planner) traffic(perLayer int) PerToken {
	fast := p.residentBytes + p.vectors + p.predictorBytes
	slow := p.streamedBytes()
	for l := range p.profile.Layers {
		computed := float64(p.profile.FFN)
		if p.Mode == config.Predicted && p.Predicted[l] {
			computed *= assumedWanted
		}
		missing := computed * float64(p.profile.FFN-perLayer) / float64(p.profile.FFN)
		fast += int64(computed * float64(p.stride))
		slow += int64(missing * float64(p.stride))
	}
	return PerToken{FastBytes: fast + slow, SlowBytes: slow}
}

// streamedBytes is what a token reads of the matrices that are not resident.
func (p *planner) streamedBytes() (n int64) {
	for _, t := range p.matrices {
		if !p.Resident[t.Name] {
			n += t.Bytes()
		}
	}
	for _, t := range p.rowTables {
		if !p.Resident[t.Name] {
			n += t.RowBytes
		}
	}
	return n
}
