package synth

import (
	"math"
	"math/rand/v2"
)

// The published statistics of OPT-6.7B: what share of a layer's neurons is
// active at a token, by the layer's depth, and how unequal neurons are.
const (
	publishedMean = 0.0330
	hotActive     = 0.80 // of all activations are of 26 % of the neurons
	mostFrequent  = 0.98 // of the tokens, for any neuron
)

// hotShare is aimed at for 26 %: neurons come out more unequal than they are
// meant to be, because thresholds are set on few tokens and because common
// tokens come again.
const hotShare = 0.29

// activeShares is the share of active neurons for each layer: through the
// published points (layer 1 1.56 %, 16 2.66 %, 32 5.36 %) at the same relative
// depth, and bent between them so that the mean is mean.
func activeShares(layers int, mean float64) []float64 {
	points := [...]struct{ depth, share float64 }{{0, 0.0156}, {15.0 / 31, 0.0266}, {1, 0.0536}}
	shares, bends := make([]float64, layers), make([]float64, layers)
	sum, bend := 0.0, 0.0
	for l := range shares {
		depth := float64(l) / float64(max(1, layers-1))
		p := points[:2]
		if depth > points[1].depth {
			p = points[1:]
		}
		t := (depth - p[0].depth) / (p[1].depth - p[0].depth)
		shares[l] = (p[0].share + t*(p[1].share-p[0].share)) * mean / publishedMean
		bends[l] = shares[l] * t * (1 - t) // nothing at the points
		sum, bend = sum+shares[l], bend+bends[l]
	}
	want := mean * float64(layers)
	for l := range shares {
		if layers < 3 { // the ends alone
			shares[l] *= want / sum
		} else {
			shares[l] += bends[l] * (want - sum) / bend
		}
	}
	return shares
}

// frequencies is how often each rank of neurons is active, falling as
// p = min(mostFrequent, c rank^-s), with c and s such that the mean is mean
// and the hottest neurons have their share of the activations.
func frequencies(ffn int, mean float64) []float64 {
	p := make([]float64, ffn)
	power := make([]float64, ffn)
	bisect(0, 4, func(s float64) bool {
		for i := range power {
			power[i] = math.Pow(float64(i+1), -s)
		}
		low := math.Log(mean)
		bisect(low, low+4*math.Log(float64(ffn)+1), func(c float64) bool {
			first, sum := math.Exp(c), 0.0
			for i, v := range power {
				p[i] = math.Min(mostFrequent, first*v)
				sum += p[i]
			}
			return sum < mean*float64(ffn)
		})
		return shareOfHot(p) < hotActive
	})
	return p
}

// shareOfHot is the share of all activations that the first hotShare of the
// neurons have.
func shareOfHot(p []float64) float64 {
	hot, all := 0.0, 0.0
	for i, v := range p {
		if all += v; float64(i) < hotShare*float64(len(p)) {
			hot += v
		}
	}
	return hot / all
}

// bisect calls below with values that close in on the one from lo to hi where
// it turns from true to false, and ends beside it.
func bisect(lo, hi float64, below func(float64) bool) {
	for range 30 {
		mid := (lo + hi) / 2
		if below(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
}

// shuffled deals a layer's frequencies to its neurons: hot ones are anywhere.
func shuffled(p []float64, seed uint64, layer int) []float64 {
	rng := rand.New(rand.NewPCG(seed, shuffleStream+uint64(layer)<<8))
	out := make([]float64, len(p))
	for i, from := range rng.Perm(len(p)) {
		out[i] = p[from]
	}
	return out
}
