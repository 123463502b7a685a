package placement

import (
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
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
		{p.unitName() + " slots", p.slotBytes},
		{"KV cache", p.KVBytes},
		{"activations", p.in.ScratchBytes(p.Chunk) + p.backendBytes(p.Chunk)},
		{"staging", p.stagingBytes() + disk.QueueBytes},
		{"tables and tokenizer", p.tables},
		{"runtime and page tables", runtimeBytes + memory.PageTables(p.Process.BudgetBytes)},
	}}
	slow := Tier{Name: "slow (pack file)", Items: []Item{
		{p.unitName() + "s without a slot", p.units.slots(p.units.number) - p.slotBytes},
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
