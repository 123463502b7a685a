package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Synthetic is a model whose neurons are wanted independently of each other and
// of the past, with frequencies that fall with their rank as those published
// for OPT-6.7B do: p = min(0.98, c rank^-s) in each layer.
type Synthetic struct {
	Layers, FFN int
	// Active is the mean share of neurons that are active, Skew the share of
	// neurons that gives 80 % of the activations, and Computed how many are
	// wanted for one that is active.
	Active, Skew, Computed float64
	Steps                  int
	Seed                   uint64
}

// mostOften is the most that a neuron is active.
const mostOften = 0.98

// layerActive is the share of active neurons of a layer at a depth from 0 to 1,
// through the points published for OPT-6.7B (layers 1, 16 and 32), for a mean
// of 1.
func layerActive(depth float64) float64 {
	const first, middle, last = 1.56, 2.66, 5.36
	v := first + (middle-first)*2*depth
	if depth > 0.5 {
		v = middle + (last-middle)*(2*depth-1)
	}
	return v / ((first + 2*middle + last) / 4) // the mean of the two lines
}

// zipf is n frequencies, the highest first, of a given mean.
func zipf(n int, s, mean float64) []float64 {
	p := make([]float64, n)
	low, high := 0.0, float64(n)*float64(n)
	for range 100 {
		c, sum := (low+high)/2, 0.0
		for i := range p {
			p[i] = min(mostOften, c*math.Pow(float64(i+1), -s))
			sum += p[i]
		}
		if sum < mean*float64(n) {
			low = c
		} else {
			high = c
		}
	}
	return p
}

// exponent is the s with which a share of the neurons gives 80 % of the
// activations.
func exponent(n int, mean, share float64) float64 {
	low, high := 0.0, 4.0
	for range 40 {
		s := (low + high) / 2
		p := zipf(n, s, mean)
		all, top := 0.0, 0.0
		for i, v := range p {
			all += v
			if i < int(share*float64(n)) {
				top += v
			}
		}
		if top < 0.8*all {
			low = s
		} else {
			high = s
		}
	}
	return (low + high) / 2
}

// Trace draws the steps.
func (m Synthetic) Trace() *Trace {
	t := &Trace{
		Info: Info{
			Model:  "synthetic",
			Text:   fmt.Sprintf("independent draws, %.2g %% active, %.2g wanted for one active, seed %d", 100*m.Active, m.Computed, m.Seed),
			Layers: m.Layers, FFN: m.FFN, Stride: 16 << 10,
		},
		Sets: make([]Sets, m.Layers),
	}
	s := exponent(m.FFN, m.Active, m.Skew)
	for l := range t.Sets {
		r := rand.New(rand.NewPCG(m.Seed, uint64(l)))
		depth := 0.5
		if m.Layers > 1 {
			depth = float64(l) / float64(m.Layers-1)
		}
		p := zipf(m.FFN, s, m.Computed*m.Active*layerActive(depth))
		r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		t.Sets[l] = draw(r, p, m.Steps)
	}
	return t
}

// draw draws sets of independent neurons.
func draw(r *rand.Rand, p []float64, steps int) (s Sets) {
	wanted := 0.0
	for _, v := range p {
		wanted += v
	}
	s.IDs = make([]int32, 0, int(wanted*float64(steps)*1.1))
	bar := make([]uint32, len(p))
	for i, v := range p {
		bar[i] = uint32(v * math.MaxUint32)
	}
	for range steps {
		for i, b := range bar {
			if r.Uint32() < b {
				s.IDs = append(s.IDs, int32(i))
			}
		}
		s.Ends = append(s.Ends, len(s.IDs))
	}
	s.IDs = slices.Clip(s.IDs)
	return s
}
