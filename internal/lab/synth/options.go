package synth

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Options says what checkpoint to make.
type Options struct {
	Profile config.ModelProfile // of Sizes.Profile
	Active  float64             // mean share of active neurons; 0: OPT-6.7B's 3.3 %
	Seed    uint64
	Threads int // 0: one for each processor

	// Progress, if not nil, is told what is being written and how many bytes
	// are. Calls do not overlap.
	Progress func(what string, done, total int64)
}

// The shares of active neurons that can be asked for: with fewer a layer may
// have none, with more the skew cannot be had.
const (
	leastActive = 0.002
	mostActive  = 0.2
)

// shares is the share of each layer's neurons that is to be active at a token.
func (o Options) shares() []float64 {
	return placement.PublishedShares(o.Profile.Layers, cmp.Or(o.Active, placement.PublishedActive))
}

func (o Options) threads() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// Validate reports the first option that cannot be had.
func (o Options) Validate() error {
	p := o.Profile
	if err := p.Validate(); err != nil {
		return fmt.Errorf("synth: %w", err)
	}
	switch {
	case p.HiddenSize < leastHidden:
		return fmt.Errorf("synth: hidden size: got %d, want at least %d", p.HiddenSize, leastHidden)
	case o.Active != 0 && !(o.Active >= leastActive && o.Active <= mostActive):
		return fmt.Errorf("synth: active share: got %.3g %%, want %.3g %% to %.3g %%", 100*o.Active, 100*leastActive, 100*mostActive)
	}
	return nil
}

// leastHidden is the smallest model for which the statistics mean anything.
const leastHidden = 32
