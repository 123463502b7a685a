package bench

import (
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
)

// planned is how a mode runs, decided before its process starts.
type planned struct {
	strategy  config.OffloadStrategy
	ringSlots int // of naive, 0: as usual
	place     *sparseflow.Placement
}

// plan decides how a mode runs; base is the strategy of Sparse.
func (o *Options) plan(m Mode) (planned, error) {
	s := o.Strategy
	switch m {
	case Dense, Mmap:
		s.Mode = config.Dense
	case Naive:
		s.Mode, s.Policy, s.AsyncTransfer = config.Dense, "frozen", false
	case AblatePredictor:
		s.Policy, s.AsyncTransfer = "frozen", false
	case AblateCache, AblateBundles:
		s.AsyncTransfer = false
	case AblateAsync:
		s.AsyncTransfer = true
	}
	everything := m == Dense || m == Resident || m == Mmap
	if everything {
		s.Budget, s.GPUCacheRatio = config.Budget{}, nil
	}
	options := []sparseflow.Option{sparseflow.WithCacheDir(o.CacheDir), sparseflow.WithInternals(func(e *engine.Options) { e.Unprofiled = m == Naive })}
	place, err := sparseflow.Plan(o.Model, append(options, sparseflow.WithStrategy(s))...)
	if err != nil {
		return planned{}, err
	}
	if everything {
		// Without a budget the plan might leave out what is not free now.
		s.Budget.Bytes = place.Process.TotalBytes
		place, err = sparseflow.Plan(o.Model, append(options, sparseflow.WithStrategy(s))...)
		if err != nil {
			return planned{}, err
		}
	}
	p := planned{strategy: s, place: place}
	if m == Naive {
		p.ringSlots = 2 * (o.Profile.FFN - slices.Min(place.Slots)) // two halves, one of them used
	}
	return p, nil
}

// unavailable says why a planned mode cannot run here, "" if it can.
func (p planned) unavailable(m Mode, free int64) string {
	need := p.place.Process.BudgetBytes
	if m == Mmap || free == 0 || need <= free {
		return ""
	}
	return fmt.Sprintf("needs %s of memory, %s are free", config.FormatSize(need), config.FormatSize(free))
}
