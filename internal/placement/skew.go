package placement

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
)

// The published statistics of ReLU models (OPT-6.7B): what share of the neurons
// is active at a token on average, and how unequal they are.
const (
	PublishedActive = 0.0330
	publishedHot    = 0.26 // of the neurons give HotActive of the activations
	leastHot        = 1.3  // times the share of active neurons: ReLU-LLaMA's; no neuron is active more often than always
	HotActive       = 0.80
	MostFrequent    = 0.98 // of the tokens, for any neuron
)

// Rank is some neurons of a layer that are equally often wanted.
type Rank struct {
	Neurons float64
	P       float64 // share of the tokens that want each
}

// PowerLaw sets how often the neurons of each rank are active, the hottest
// first: p = min(MostFrequent, c rank^-s), with c and s such that the mean over
// all neurons is mean and the share hot of them gives 80 % of the activations.
// at is where each rank lies, counted from 1, and steps how exact c and s are.
func PowerLaw(ranks []Rank, at []float64, mean, hot float64, steps int) {
	all := 0.0
	for _, r := range ranks {
		all += r.Neurons
	}
	power := make([]float64, len(ranks))
	bisect(steps, 0, 4, func(s float64) bool {
		for i := range power {
			power[i] = math.Pow(at[i], -s)
		}
		low := math.Log(mean)
		bisect(steps, low, low+4*math.Log(all+1), func(c float64) bool {
			first, sum := math.Exp(c), 0.0
			for i, v := range power {
				ranks[i].P = math.Min(MostFrequent, first*v)
				sum += ranks[i].Neurons * ranks[i].P
			}
			return sum < mean*all
		})
		return shareOfHot(ranks, hot*all) < HotActive
	})
}

// shareOfHot is the share of all activations that so many of the hottest
// neurons have.
func shareOfHot(ranks []Rank, hottest float64) float64 {
	hot, all, n := 0.0, 0.0, 0.0
	for _, r := range ranks {
		all += r.Neurons * r.P
		if n < hottest {
			hot += r.Neurons * r.P
		}
		n += r.Neurons
	}
	return hot / all
}

// bisect calls below with values that close in on the one from lo to hi where
// it turns from true to false, and returns the last one after so many steps.
func bisect(steps int, lo, hi float64, below func(float64) bool) (mid float64) {
	for range steps {
		mid = (lo + hi) / 2
		if below(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return mid
}

// published is the ranks of a layer of ffn neurons of which a share of mean is
// active: few enough that a plan takes no time, each of neurons that differ little.
func published(ffn int, mean float64) []Rank {
	var ranks []Rank
	var at []float64
	for first := 0; first < ffn; {
		n := min(max(1, first/8), ffn-first)
		ranks = append(ranks, Rank{Neurons: float64(n)})
		at = append(at, float64(first)+float64(n+1)/2)
		first += n
	}
	PowerLaw(ranks, at, mean, max(publishedHot, leastHot*mean), 14)
	return ranks
}

// counted is the ranks of neurons that were active so often in so many tokens.
// Half an activation more for each stands for what the text was too short to show.
func counted(counts []uint32, hottest []int32, tokens int) []Rank {
	var ranks []Rank
	for first := 0; first < len(hottest); {
		n, sum := min(max(1, first/8), len(hottest)-first), 0.0
		for _, id := range hottest[first : first+n] {
			sum += float64(counts[id])
		}
		p := (sum/float64(n) + 0.5) / (float64(tokens) + 1)
		ranks = append(ranks, Rank{Neurons: float64(n), P: min(p, MostFrequent)})
		first += n
	}
	return ranks
}

// wantedBy is how often a predictor asks for the neurons of ranks, if it asks for
// a share of computed of them: scores are normally distributed, and a predictor
// lowers every neuron's threshold by as many deviations.
func wantedBy(ranks []Rank, computed float64) []Rank {
	wanted := make([]Rank, len(ranks))
	threshold := make([]float64, len(ranks))
	all := 0.0
	for i, r := range ranks {
		threshold[i] = math.Sqrt2 * math.Erfinv(1-2*r.P)
		all += r.Neurons
	}
	bisect(16, -4, 12, func(margin float64) bool {
		sum := 0.0
		for i, r := range ranks {
			wanted[i] = Rank{r.Neurons, normalAbove(threshold[i] - margin)}
			sum += r.Neurons * wanted[i].P
		}
		return sum < computed*all
	})
	return wanted
}

// normalAbove is the probability of a standard normal above x.
func normalAbove(x float64) float64 { return math.Erfc(x/math.Sqrt2) / 2 }

// A DepthShare is the share of active neurons at a relative depth, from 0, the
// first layer, to 1, the last.
type DepthShare struct{ Depth, Share float64 }

// PublishedShares is the share of active neurons of each layer where nothing is
// known of a model: that of OPT-6.7B (layer 1 1.56 %, 16 2.66 %, 32 5.36 %) at the
// same relative depth, scaled and bent so that the mean is mean.
func PublishedShares(layers int, mean float64) []float64 {
	scale := mean / PublishedActive
	return SharesThrough(layers, mean, []DepthShare{{0, 0.0156 * scale}, {15.0 / 31, 0.0266 * scale}, {1, 0.0536 * scale}})
}

// AssumedShares is the share of active neurons of each layer of a model of which
// nothing is known but what it is, and the published model that it is taken from:
// OPT-6.7B for neurons of two parts; for gates ReluLLaMA-7B (25 to 45 %, 32.9 % on
// average) or, where what is small becomes zero too, ProSparse-7B (Song et al. 2024:
// 10.7 %).
func AssumedShares(p config.ModelProfile) (shares []float64, from string) {
	switch {
	case p.NeuronParts == 2:
		return PublishedShares(p.Layers, PublishedActive), "OPT-6.7B"
	case p.Activation == config.FATReLU:
		return PublishedShares(p.Layers, 0.1068), "ProSparse-7B"
	}
	return SharesThrough(p.Layers, 0.329, []DepthShare{{0, 0.25}, {1, 0.45}}), "ReluLLaMA-7B"
}

// SharesThrough is the share of each layer through points, bent between these so
// that the mean is mean. The first point is at 0 and the last at 1.
func SharesThrough(layers int, mean float64, points []DepthShare) []float64 {
	shares, bends := make([]float64, layers), make([]float64, layers)
	sum, bend := 0.0, 0.0
	for l := range shares {
		depth, p := float64(l)/float64(max(1, layers-1)), points
		for len(p) > 2 && depth > p[1].Depth {
			p = p[1:]
		}
		t := (depth - p[0].Depth) / (p[1].Depth - p[0].Depth)
		shares[l] = p[0].Share + t*(p[1].Share-p[0].Share)
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
