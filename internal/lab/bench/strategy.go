package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/learned"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// planned is how a mode runs, decided before its process starts.
type planned struct {
	strategy  config.OffloadStrategy
	ringSlots int // of naive, 0: as usual
	place     *placement.Placement
}

// plan decides how a mode runs; base is the strategy of Sparse.
func (o *Options) plan(m Mode) (planned, error) {
	s := o.Strategy
	switch m {
	case Dense:
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
	everything := !m.Budgeted()
	if everything {
		s.Budget, s.GPUCacheRatio = config.Budget{}, nil
	}
	place, err := o.place(s, m == Naive)
	if err == nil && everything {
		// Without a budget the plan might leave out what is not free now.
		s.Budget.Bytes = place.Process.TotalBytes
		place, err = o.place(s, m == Naive)
	}
	if err != nil {
		return planned{}, err
	}
	p := planned{strategy: s, place: place}
	if m == Naive {
		p.ringSlots = 2 * (o.Profile.FFN - slices.Min(place.Slots)) // two halves, one of them used
	}
	return p, nil
}

// place places the model for a strategy. Unprofiled leaves out what a profile
// knows.
func (o *Options) place(s config.OffloadStrategy, unprofiled bool) (*placement.Placement, error) {
	src, err := hub.FindIn(o.Model, o.CacheDir)
	if err != nil {
		return nil, err
	}
	l, err := convert.Layout(src)
	if err != nil {
		return nil, err
	}
	known, err := finder(s, o.CacheDir).Known(src)
	if err != nil {
		return nil, err
	}
	eo := engine.Options{Strategy: s, Unprofiled: unprofiled}
	known.Use(&eo)
	return engine.Plan(l, eo)
}

// openPack opens what Benchmark found the model as: a pack, or files used in place.
func openPack(path string) (*pack.Pack, error) {
	src, err := hub.Find(path)
	if err != nil {
		return nil, err
	}
	p, err := convert.OpenKnown(context.Background(), src, "", convert.Options{})
	if err == nil && p == nil {
		err = fmt.Errorf("bench: open %s: got a model that has to be packed, want a pack", path)
	}
	return p, err
}

// finder is where what is known of a model is looked for.
func finder(s config.OffloadStrategy, cacheDir string) learned.Finder {
	return learned.Finder{CacheDir: cacheDir, Factors: s.Predictor == "lowrank"}
}
