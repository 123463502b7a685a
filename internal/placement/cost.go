package placement

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// The cost model: what a decoded token multiplies, misses and reads, and how
// long that takes. It is arithmetic on a placement and on what is known of the
// model's sparsity. Nothing that is computed depends on it.
//
// A token multiplies the matrices, the predictor of each predicted layer (twice
// where a forecast starts reads), the first parts of the neurons that it computes
// and the last part of those that are active. Norms, biases and rows of tables
// are left out: they are less than a percent.
//
// A token multiplies as many experts of a layer as its router names, and finds those
// without a slot as often as routers are known to come back to others (see usage).
//
// A layer that computes every neuron misses those without a slot. A predicted
// layer wants neurons by their rank (see Rank) and independently of each other.
// Its cache holds the neurons whose score is highest; a score is a Poisson
// variable whose mean is how often the neuron was wanted in the tokens that the
// cache remembers. Neurons that are missed take slots until the next token. A
// cache smaller than one token's set does not evict and holds any neurons.
//
// Misses that lie near each other in the file are read together with what lies
// between (disk.DiskSpeed.Joins), so bytes read are more than the misses' own.

const (
	// textTokens is how many tokens a cache has seen where the model is judged:
	// the middle of a text of some hundreds.
	textTokens = 256
	// repeats is the share of a text's tokens that were there in the last few
	// hundred. What such a token wants has been wanted before.
	repeats = 0.45
	// fewestSet is the smallest sets of neurons that tokens want, of the mean.
	fewestSet = 0.3
	// memoryUses is how many uses for each slot the default policy remembers; see
	// cache.LFU.
	memoryUses = 32 / math.Ln2
	// forecastWaste is how many neurons a forecast reads in vain for each that is
	// missed.
	forecastWaste = 0.15
	// fullRun is the most bundles that are read at a time; see package transfer.
	fullRun = 32
)

// PerToken is what one decoded token is expected to move.
type PerToken struct {
	FastBytes     int64   // of weights multiplied, wherever they were before
	NeuronBytes   int64   // of these, of neurons that lie apart in memory
	CompleteBytes int64   // of these, of layers that are computed as a whole, all in memory
	SlowBytes     int64   // read from the pack
	StreamedBytes int64   // of these, of matrices, which are read in order
	ExpertBytes   int64   // of SlowBytes, of experts, which are read while others are multiplied
	Experts       float64 // that a token wants, in all layers
	Misses        float64 // units, neurons or experts, that are read
	Reads         float64
	Layers        int
}

// Rates are how many bytes of weights a machine multiplies in a second, from
// memory, and how many it reads.
type Rates struct {
	Rows     float64 // rows of matrices, in order
	Neurons  float64 // neurons that lie apart
	Complete float64 // all neurons of layers
	Random   float64 // read from the pack, neuron by neuron
	InOrder  float64 // read from the pack, in order
	// Layer is the seconds that a layer takes beside its weights: norms, a short
	// context's attention, handing operations to threads.
	Layer float64
}

// LayerSeconds is what Layer is taken to be. It matters for small models alone.
const LayerSeconds = 60e-6

// AssumedRates are those of a machine that nobody has measured: ordinary memory
// and an ordinary NVMe disk.
func AssumedRates() Rates {
	d := disk.AssumedDisk().BytesPerSecond
	return Rates{Rows: 10e9, Neurons: 7e9, Complete: 10e9, Random: d, InOrder: d, Layer: LayerSeconds}
}

// Seconds is how long a token takes if neurons are read and computed one after the
// other, and matrices that stream are multiplied as they come. Experts are read while
// others are multiplied: then it is the longer of both.
func (t PerToken) Seconds(r Rates) float64 {
	if t.Experts > 0 {
		multiply, read := t.Overlapped(r)
		return max(multiply, read) + float64(t.Layers)*r.Layer
	}
	rows := max(0, t.FastBytes-t.NeuronBytes-t.CompleteBytes-t.StreamedBytes)
	return float64(rows)/r.Rows + float64(t.NeuronBytes)/r.Neurons + float64(t.CompleteBytes)/r.Complete +
		float64(t.SlowBytes-t.StreamedBytes)/r.Random + float64(t.StreamedBytes)/min(r.InOrder, r.Rows) +
		float64(t.Layers)*r.Layer
}

// Overlapped is how long a token's bytes take to multiply, and to read.
func (t PerToken) Overlapped(r Rates) (multiply, read float64) {
	return float64(t.FastBytes) / r.Rows, float64(t.StreamedBytes)/r.InOrder + float64(t.SlowBytes-t.StreamedBytes)/r.Random
}

// traffic is what a token is expected to move.
func (p *planner) traffic() PerToken {
	t := PerToken{Layers: p.profile.Layers}
	matrix := func(x pack.Tensor, bytes int64) {
		if !p.Resident[x.Name] {
			t.SlowBytes += bytes
			t.StreamedBytes += bytes
			t.Reads += math.Ceil(float64(bytes) / float64(x.RowBytes*int64(x.BlockRows)))
		}
	}
	for _, x := range p.matrices {
		t.FastBytes += x.Bytes()
		matrix(x, x.Bytes())
	}
	for _, x := range p.rowTables {
		matrix(x, x.RowBytes)
	}
	for l := range p.profile.Layers {
		p.layer(&t, l)
	}
	return t
}

// layer adds what a layer's neurons cost.
func (p *planner) layer(t *PerToken, l int) {
	switch {
	case p.units.of[l] == 0:
		return
	case p.experts():
		p.routed(t, l)
		return
	}
	mode := p.in.Layers[l].Mode
	active, computed := p.in.Layers[l].demand()
	ffn, slots := float64(p.profile.FFN), float64(p.Slots[l])
	complete := slots == ffn
	missed, read, reads := ffn-slots, ffn-slots, math.Ceil((ffn-slots)/fullRun)
	if mode == config.Predicted {
		ahead := !complete && p.in.Strategy.AsyncTransfer
		missed, read, reads = 0, 0, 0
		if !complete && computed > 0 {
			missed = p.misses(wantedBy(p.ranks(l, active), computed), slots)
			read = missed
			if ahead && slots > computed*ffn {
				read += forecastWaste * missed
			}
			read, reads = p.bursts(read, 1-missed/(computed*ffn))
		}
		t.FastBytes += p.in.Layers[l].PredictorBytes
		if ahead {
			t.FastBytes += p.in.Layers[l].PredictorBytes // once more, for the forecast
		}
	}
	row := float64(p.in.Layout.MLPDType().RowBytes(p.profile.HiddenSize))
	bytes := int64(ffn * row * (computed + active*float64(p.profile.NeuronParts-1)))
	t.FastBytes += bytes
	if complete && mode != config.Predicted {
		t.CompleteBytes += bytes
	} else {
		t.NeuronBytes += bytes
	}
	t.SlowBytes += int64(read * float64(p.units.largest))
	t.Misses += missed
	t.Reads += reads
}

// demand is the shares of a layer's neurons whose later parts and whose first part a
// token multiplies.
func (l Layer) demand() (active, computed float64) {
	switch l.Mode {
	case config.Dense:
		return 1, 1
	case config.Gate:
		return l.Active, 1
	}
	return min(l.Active, l.Computed), l.Computed
}

// ranks is how often the neurons of a layer are active, of which a share is.
func (p *planner) ranks(l int, active float64) []Rank {
	if c := p.in.Counts; c != nil {
		return counted(c.Neurons[l], c.Hottest(l), c.Tokens)
	}
	return published(p.profile.FFN, active)
}

// misses is how many neurons of a predicted layer a token finds without a slot.
func (p *planner) misses(wanted []Rank, slots float64) float64 {
	all, set := 0.0, 0.0
	for _, r := range wanted {
		all += r.Neurons
		set += r.Neurons * r.P
	}
	evicts := min(max((slots/set-fewestSet)/(1-fewestSet), 0), 1)
	if evicts == 0 {
		return set * (1 - slots/all)
	}
	tokens := memoryUses * slots / set
	if p.in.Counts == nil {
		tokens = min(tokens, textTokens)
	}
	// The slots that missed neurons took lie idle: the more of them, the more misses.
	missed := 0.0
	for range 4 {
		idle := min(missed, slots/2)
		missed = (missed + cold(wanted, tokens, slots-idle)) / 2
	}
	missed = cold(wanted, tokens, slots-min(missed, slots/2))
	return evicts*missed + (1-evicts)*set*(1-slots/all)
}

// cold is how many neurons a token wants that are not among those slots whose
// scores are the highest after so many tokens.
func cold(wanted []Rank, tokens, slots float64) (missed float64) {
	least := bisect(12, 1e-3, 2*tokens, func(least float64) bool {
		held := 0.0
		for _, r := range wanted {
			held += r.Neurons * poissonAtLeast(least, tokens*r.P)
		}
		return held > slots
	})
	for _, r := range wanted {
		in, again := poissonAtLeast(least, tokens*r.P), 1.0
		if least > 1 { // a token that has been there has left a score of one
			again = poissonAtLeast(least-1, tokens*r.P)
		}
		missed += r.Neurons * r.P * (1 - in - repeats*(again-in))
	}
	return missed
}

// poissonAtLeast is the probability that a Poisson variable is at least k, by
// the cube root of the gamma variable that it equals (Wilson and Hilferty 1931),
// so that k need not be whole.
func poissonAtLeast(k, mean float64) float64 {
	v := 1 / (9 * k)
	return normalAbove((1 - v - math.Cbrt(mean/k)) / math.Sqrt(v))
}

// bursts is joined for n neurons a token on average: the more of what they want
// tokens find, the more unequal they are, and then one in four has up to half of all.
func (p *planner) bursts(n, found float64) (bundles, reads float64) {
	few, fewReads := p.joined(n * (1 - 0.4*found))
	many, manyReads := p.joined(n * (1 + 1.2*found))
	return 0.75*few + 0.25*many, 0.75*fewReads + 0.25*manyReads
}

// joined is how many bundles, those between included, and how many reads bring n
// neurons that lie anywhere in a layer. It follows transfer.NeuronTransferPlan: a
// run grows by the gap to the next neuron and that neuron if both together are
// cheaper to read than apart.
func (p *planner) joined(n float64) (bundles, reads float64) {
	if n <= 0 {
		return 0, 0
	}
	density := min(1, n/float64(p.profile.FFN))
	join := disk.AssumedDisk().Joins
	// span[i] and count[i] are the bundles and the neurons that a run of i
	// bundles ends up with.
	var span, count [fullRun + 1]float64
	for i := fullRun; i > 0; i-- {
		stays := 1.0 // probability that no neuron is found so far
		for gap := 0; i+gap < fullRun && join(int64(i)*p.units.largest, int64(gap)*p.units.largest, p.units.largest); gap++ {
			found := stays * density
			stays -= found
			span[i] += found * span[i+gap+1]
			count[i] += found * (1 + count[i+gap+1])
		}
		span[i] += stays * float64(i)
	}
	reads = n / (1 + count[1])
	return reads * span[1], reads
}
