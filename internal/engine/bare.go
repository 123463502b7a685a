package engine

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// A budget may hold all weights, but not all weights and predictors. Then the
// predictors' room costs reads that computing every neuron would not need, and
// only a measurement of both placements says which is faster.

const (
	// bareBytes is the largest model that is loaded twice to find out. In
	// larger ones a neuron is so long that computing all of them takes longer
	// than reading the few that have no room.
	bareBytes = 256 << 20
	// bareTokens are decoded to measure, twice: first to fill the cache.
	bareTokens = 48
)

// withoutPredictors is the placement of auto without predictors, and the key of
// the choice between the two; nil where there is nothing to choose.
func withoutPredictors(p *pack.Layout, place *placement.Placement, o Options) (*placement.Placement, string) {
	if o.Auto == nil || o.Predictor != nil || !place.Auto || place.Mode != config.Predicted || place.Token.SlowBytes == 0 {
		return nil, ""
	}
	exact := o
	exact.Strategy.Mode = config.Gate
	bare, err := plan(p, exact)
	if err != nil || bare.Token.SlowBytes > 0 {
		return nil, ""
	}
	bare.Auto = true
	return bare, AutoKey(p, place, o) + ", or all weights without predictors"
}

// better is bare where that was chosen, else place.
func better(place, bare *placement.Placement, key string, o Options) *placement.Placement {
	if bare != nil {
		if c, ok := o.Auto.Known(key); ok && c.Exact() {
			return bare
		}
	}
	return place
}

// measurePredictors makes the choice that is stored under key, unless it was made
// before.
func measurePredictors(ctx context.Context, p *pack.Pack, key string, o Options) error {
	if _, ok := o.Auto.Known(key); ok || p.WeightBytes() > bareBytes {
		return nil
	}
	exact, err := tokenSeconds(ctx, p.Path(), o, config.Gate)
	if err != nil {
		return err
	}
	predicted, err := tokenSeconds(ctx, p.Path(), o, config.Predicted)
	if err != nil {
		return err
	}
	letter := config.Predicted[0]
	if exact*worthIt <= predicted {
		letter = config.Gate[0]
	}
	c := Choice{Predicted: 1e6 * predicted, Gate: 1e6 * exact}
	for range p.Profile().Layers {
		c.Modes += string(letter)
	}
	o.Auto.Learned(key, c)
	return nil
}

// tokenSeconds is how long a token takes to decode in a mode.
func tokenSeconds(ctx context.Context, path string, o Options, mode config.Mode) (seconds float64, err error) {
	p, err := pack.Open(path)
	if err != nil {
		return 0, err
	}
	e, err := Open(ctx, p, Options{Strategy: withMode(o.Strategy, mode), Calibration: o.Calibration, LowRank: o.LowRank,
		Multiple: o.Multiple, Policy: o.Policy, Kernels: o.Kernels})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for range 2 {
		res, err := e.Run(ctx, Request{IDs: []int32{max(0, e.profile.BOS)}, MaxTokens: bareTokens, IgnoreEOS: true})
		if err != nil {
			return 0, err
		}
		seconds = res.Stats.Decode.Seconds() / float64(max(1, res.Stats.Tokens-1))
	}
	return seconds, nil
}

func withMode(s config.OffloadStrategy, m config.Mode) config.OffloadStrategy {
	s.Mode = m
	return s
}
