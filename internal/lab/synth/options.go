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
	Active  float64             // mean share of active neurons; 0: as the statistics say
	// Statistics is how neurons are active; zero: as OPT's.
	Statistics Statistics
	Seed       uint64
	Threads    int // 0: one for each processor

	// Progress, if not nil, is told what is being written and how many bytes
	// are. Calls do not overlap.
	Progress func(what string, done, total int64)
}

// Statistics is what is published of which neurons of a model are active.
type Statistics struct {
	Active float64 // mean share of neurons at a token; 0: OPT-6.7B's 3.3 %
	// First and Last are the shares of the first and the last layer, between which
	// others lie; 0: all relate to the mean as OPT-6.7B's.
	First, Last float64
	Hot         float64 // share of a layer's neurons that gives 80 % of the activations; 0: OPT-30B's 26 %
}

const (
	// leastActive is the least share of active neurons that can be asked for: with
	// fewer a layer may have none.
	leastActive = 0.002
	// mostActive is the most, in shares of the hot neurons: with more these would
	// have to be active more often than always.
	mostActive = 0.77
	// publishedHot is OPT-30B's.
	publishedHot = 0.26
)

// hot is the share of neurons that gives 80 % of the activations.
func (o Options) hot() float64 { return cmp.Or(o.Statistics.Hot, publishedHot) }

// aim is the share of hot neurons that frequencies are to have.
func (o Options) aim() float64 {
	if o.mean() < fewActive {
		return o.hot() + hotAim
	}
	return o.hot()
}

// mean is the share of active neurons.
func (o Options) mean() float64 { return cmp.Or(o.Active, o.Statistics.mean()) }

// mean is the share that is published.
func (s Statistics) mean() float64 { return cmp.Or(s.Active, placement.PublishedActive) }

// shares is the share of each layer's neurons that is to be active at a token.
func (o Options) shares() []float64 {
	s := o.Statistics
	if s.First == 0 {
		return placement.PublishedShares(o.Profile.Layers, o.mean())
	}
	scale := o.mean() / s.mean()
	return placement.SharesThrough(o.Profile.Layers, o.mean(), []placement.DepthShare{{Depth: 0, Share: scale * s.First}, {Depth: 1, Share: scale * s.Last}})
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
	case o.Active != 0 && !(o.Active >= leastActive && o.Active <= mostActive*o.hot()):
		return fmt.Errorf("synth: active share: got %.3g %%, want %.3g %% to %.3g %%", 100*o.Active, 100*leastActive, 100*mostActive*o.hot())
	}
	return nil
}

// leastHidden is the smallest model for which the statistics mean anything.
const leastHidden = 32
