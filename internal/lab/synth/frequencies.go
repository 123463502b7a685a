package synth

import (
	"math/rand/v2"

	"github.com/sparseflow/sparseflow/internal/placement"
)

// hotAim is by how much more than the share of hot neurons is aimed at where few
// are active: they come out more unequal than they are meant to be, because
// thresholds are set on few tokens and because common tokens come again.
const (
	hotAim    = 0.03
	fewActive = 0.05
)

// frequencies is how often each rank of neurons is active, if a share of mean is
// and a share of hot gives 80 % of that.
func frequencies(ffn int, mean, hot float64) []float64 {
	ranks, at := make([]placement.Rank, ffn), make([]float64, ffn)
	for i := range ranks {
		ranks[i].Neurons, at[i] = 1, float64(i+1)
	}
	placement.PowerLaw(ranks, at, mean, hot, 30)
	p := make([]float64, ffn)
	for i, r := range ranks {
		p[i] = r.P
	}
	return p
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
