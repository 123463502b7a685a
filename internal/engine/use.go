package engine

import (
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
)

// use counts which experts are wanted while decoding, for the next start of the
// model. The zero use counts nothing.
type use struct {
	counts *cache.Counts
	told   func(*cache.Counts)
	wanted func(layer int, ids []int32) // Options.Wanted
}

func newUse(p config.ModelProfile, o Options) use {
	return use{cache.NewCounts(p.Layers, p.Units()), o.Used, o.Wanted}
}

// add counts what a layer wants in a step.
func (u *use) add(layer int, ids []int32) {
	n := u.counts.Neurons[layer]
	for _, id := range ids {
		n[id]++
	}
	if u.wanted != nil {
		u.wanted(layer, ids)
	}
}

// step counts a step, however many sequences it has.
func (u *use) step() {
	if u.counts != nil {
		u.counts.Tokens++
	}
}

// tell tells of what was counted.
func (u *use) tell() {
	if u.counts != nil && u.counts.Tokens > 0 {
		u.told(u.counts)
	}
}
