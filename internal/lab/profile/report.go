package profile

import "github.com/sparseflow/sparseflow/internal/cache"

// Report is what a recording says about a model and a text, as profile --json
// prints it. Figures that could not be told are null.
type Report struct {
	Schema int `json:"schema"`
	Tokens int `json:"tokens"` // of the text
	// ReplayedTokens is how many of them the figures on reuse and misses are
	// of, from the first on.
	ReplayedTokens int     `json:"replayed_tokens"`
	Layers         []Layer `json:"layers"`
	// Mean is the mean over the layers that have a figure. Miss rates are of
	// all layers' neurons together, so that a layer counts as it is active.
	Mean Stats `json:"mean"`
	// Curve [ffn] is the share of all layers' activations that each layer's
	// hottest neurons give: the layers' curves, a layer counting as it is
	// active; see the function Curve.
	Curve []float64 `json:"-"`

	counts cache.Counts
}

// Layer is the figures of one layer.
type Layer struct {
	Layer int `json:"layer"`
	Stats
}

// Stats is figures. What is nil could not be told: nothing
// was active, too few tokens were kept, or there is no layer before.
type Stats struct {
	Active       float64  `json:"active"`        // mean share of neurons active at a token
	Hot80        *float64 `json:"hot80"`         // smallest share of neurons that gives 80 % of the activations
	Hot95        *float64 `json:"hot95"`         // the same for 95 %
	New          *float64 `json:"new_per_token"` // neurons active at a token and not at the one before
	Union5       *float64 `json:"union5"`        // size of 5 tokens' union, in sets of one token
	Union10      *float64 `json:"union10"`       // the same for 10
	CosPrevious  *float64 `json:"cos_previous"`  // MLP input against that of the layer before
	CosLookahead *float64 `json:"cos_lookahead"` // MLP input against its forecast before attention
	Misses       *Misses  `json:"misses"`
}

// Counts is how often each neuron was active.
func (r *Report) Counts() *cache.Counts { return &r.counts }

// Analyse makes the report of a recording. Replaying it against caches takes
// a while; progress, if not nil, is told of layers done out of all.
func Analyse(rec *Recording, progress func(done, total int64)) *Report {
	r := &Report{
		Schema:         1,
		Tokens:         rec.Tokens,
		ReplayedTokens: rec.Kept,
		Layers:         make([]Layer, len(rec.layers)),
		Curve:          make([]float64, rec.FFN),
		counts:         rec.Counts(),
	}
	all, misses := 0.0, missed{}
	for l := range rec.layers {
		curve := Curve(rec.layers[l].folds[:])
		active := total(r.counts.Neurons[l])
		all += active
		for k, v := range curve {
			r.Curve[k] += active * v
		}
		m := rec.layers[l].sets.misses(r.counts.Neurons[l])
		misses.add(m)
		r.Layers[l] = Layer{l, layerStats(rec, l, active, curve)}
		r.Layers[l].Misses = m.rates()
		if progress != nil {
			progress(int64(l+1), int64(len(rec.layers)))
		}
	}
	for k := range r.Curve {
		r.Curve[k] /= max(all, 1)
	}
	r.Mean = mean(r.Layers)
	r.Mean.Misses = misses.rates()
	return r
}

func total(counts []uint32) (n float64) {
	for _, c := range counts {
		n += float64(c)
	}
	return n
}

// layerStats is the figures of one layer but for its misses.
func layerStats(rec *Recording, layer int, active float64, curve []float64) Stats {
	l := &rec.layers[layer]
	var s Stats
	s.Active = active / float64(rec.Tokens) / float64(rec.FFN)
	if curve != nil {
		s.Hot80, s.Hot95 = new(ShareFor(curve, 0.8)), new(ShareFor(curve, 0.95))
	}
	if u, ok := l.sets.reuse(rec.Window); ok {
		s.New, s.Union5, s.Union10 = &u.New, &u.Union5, &u.Union10
	}
	s.CosPrevious, s.CosLookahead = l.previous.mean(), l.lookahead.mean()
	return s
}

func (c cosine) mean() *float64 {
	if c.n == 0 {
		return nil
	}
	return new(c.sum / float64(c.n))
}

// mean is the mean of the layers' figures but for their misses.
func mean(layers []Layer) (m Stats) {
	for _, l := range layers {
		m.Active += l.Active / float64(len(layers))
	}
	for _, f := range []func(*Stats) **float64{
		func(s *Stats) **float64 { return &s.Hot80 },
		func(s *Stats) **float64 { return &s.Hot95 },
		func(s *Stats) **float64 { return &s.New },
		func(s *Stats) **float64 { return &s.Union5 },
		func(s *Stats) **float64 { return &s.Union10 },
		func(s *Stats) **float64 { return &s.CosPrevious },
		func(s *Stats) **float64 { return &s.CosLookahead },
	} {
		var c cosine
		for i := range layers {
			if v := *f(&layers[i].Stats); v != nil {
				c.sum += *v
				c.n++
			}
		}
		*f(&m) = c.mean()
	}
	return m
}
