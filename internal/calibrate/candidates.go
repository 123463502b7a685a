package calibrate

import (
	"math"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// candidate is a way to predict one layer, being fitted.
type candidate struct {
	kind predict.Kind
	// scores sets y [tokens, count] to the scores of the neurons from first on.
	scores  func(first, count int, y device.Act)
	bytes   int64            // that a token moves to predict
	factors *lowrank.Factors // of lowrank
	out     predict.LayerCalibration
	curve   frontier
}

// newCandidate has room for ffn neurons.
func newCandidate(kind predict.Kind, bytes int64, ffn int, scores func(first, count int, y device.Act)) *candidate {
	c := &candidate{kind: kind, scores: scores, bytes: bytes}
	for _, v := range []*[]float32{&c.out.Slope, &c.out.Offset, &c.out.Sigma, &c.out.Norm} {
		*v = make([]float32, ffn)
	}
	c.out.Kind, c.out.Silent = kind, make([]bool, ffn)
	return c
}

// sketchCandidate is the pack's sketch, for inputs x.
func sketchCandidate(be *cpu.Backend, x device.Act, sk device.SketchMat) *candidate {
	return newCandidate(predict.KindSketch, int64(sk.Rows)*(int64(sk.RowBytes)+8), sk.Rows, func(first, count int, y device.Act) {
		part := sk
		part.Codes, part.Scales, part.Rows = sk.Codes[first*sk.RowBytes:], sk.Scales[first:], count
		be.Sketch(y, x, part)
	})
}

// factorCandidate is factors, for inputs x.
func factorCandidate(be *cpu.Backend, x device.Act, f lowrank.Factors) (*candidate, error) {
	l, err := f.Layer()
	if err != nil {
		return nil, err
	}
	z := device.NewAct(x.Rows, f.Rank)
	be.Linear(z, x, l.A, nil)
	c := newCandidate(predict.KindLowRank, l.Bytes(), f.FFN, func(first, count int, y device.Act) {
		be.Linear(y, z, rowsOf(l.B, first, count), l.Bias[first:first+count])
	})
	c.factors = &f
	return c, nil
}

// rowsOf is count rows of m from first on.
func rowsOf(m device.Mat, first, count int) device.Mat {
	row := int(m.DType.RowBytes(m.Cols))
	m.Data, m.Rows = m.Data[first*row:(first+count)*row], count
	return m
}

// fold moves slope and offset into the factors, whose scores then estimate
// pre-activations.
func (c *candidate) fold() {
	f := c.factors
	for i, slope := range c.out.Slope {
		scale(f.B[i*f.Rank:(i+1)*f.Rank], float64(slope))
		f.Bias[i] = slope*f.Bias[i] + c.out.Offset[i]
		c.out.Slope[i], c.out.Offset[i] = 1, 0
	}
}

// frontier is how much energy a predictor loses at every threshold: a histogram
// of the energies that it expects, in bins of a quarter of an octave.
type frontier struct {
	count  [frontierBins]int
	value  [frontierBins]float64 // the activations that there really were
	energy [frontierBins]float64 // and their energies
}

const frontierBins = 512

func (f *frontier) add(expected, value, energy float64) {
	bin := 0
	if expected > 0 {
		bin = min(max(0, int(math.Floor(4*math.Log2(expected)))+frontierBins/2), frontierBins-1)
	}
	f.count[bin]++
	f.value[bin] += value
	f.energy[bin] += energy
}

// merge adds what g counted.
func (f *frontier) merge(g *frontier) {
	for i := range f.count {
		f.count[i] += g.count[i]
		f.value[i] += g.value[i]
		f.energy[i] += g.energy[i]
	}
}

// bar is the highest energy to expect at which leaving out what is below loses
// no more than these shares of the activations and of the energy.
func (f *frontier) bar(lostValue, lostEnergy float64) float64 {
	value, energy := 0.0, 0.0
	for i := range f.count {
		value += f.value[i]
		energy += f.energy[i]
	}
	droppedValue, droppedEnergy := 0.0, 0.0
	for i := range f.count {
		droppedValue += f.value[i]
		if droppedEnergy += f.energy[i]; droppedValue > lostValue*value || droppedEnergy > lostEnergy*energy {
			return math.Exp2(float64(i-frontierBins/2) / 4)
		}
	}
	return math.Exp2(frontierBins / 8)
}

// computed is the share of neurons that are above that bar.
func (f *frontier) computed(lostValue, lostEnergy float64) float64 {
	bar, all, left := f.bar(lostValue, lostEnergy), 0, 0
	for i, n := range f.count {
		if all += n; math.Exp2(float64(i-frontierBins/2)/4) >= bar {
			left += n
		}
	}
	return float64(left) / float64(max(1, all))
}

// loss is the shares of a layer's activations and of its energy at whose loss
// predictors are compared: what the floor allows. Of energy the embedded model
// loses between 0.04 and 0.2 % in a layer where perplexity rises by half a
// percent.
func loss(floor predict.Floor) (value, energy float64) {
	if floor == predict.FloorRecall {
		return 1 - predict.LeastRecall - recallRoom, math.Pow(predict.MostError-errorRoom, 2)
	}
	return 1, 0.001
}

// What a byte costs is counted in bytes that a token reads from fast memory, for
// a model at 58 % of its weights, which is the case that matters: one that fits
// is fast anyway. Of the neurons that it wants about half have no slot then
// (the embedded model 0.6, the shape of OPT-6.7B 0.3), and reading one costs
// some 20 times what finding it does. A byte of a predictor takes the place of
// a byte of slots, which would save about a twentieth of a byte of misses
// (docs/cache.md).
const (
	missCost   = 20
	missShare  = 0.5
	wantedCost = 1 + missShare*missCost
	heldCost   = 1 + missCost/20
	// codesCost is by how much a layer's own codes, which take room in the
	// sidecar, have to be cheaper than the pack's sketch, which is there.
	codesCost = 1 / 0.95
)

// cost is what a token of a layer costs at the loss that a floor allows, where
// a neuron has bundle bytes.
func (c *candidate) cost(floor predict.Floor, ffn int, bundle int64) float64 {
	cost := heldCost*float64(c.bytes) + wantedCost*c.curve.computed(loss(floor))*float64(ffn)*float64(bundle)
	if c.out.Codes.Bits > 0 {
		cost *= codesCost
	}
	return cost
}

// choose is the cheapest of the candidates, or nil where it is cheaper to
// compute all first parts: with a share active of the neurons that costs the
// first parts of all and the others of the active ones.
func choose(cs []*candidate, floor predict.Floor, ffn, parts int, bundle int64, active float64) *candidate {
	var best *candidate
	least := wantedCost * (1 + float64(parts-1)*active) * float64(ffn) * float64(bundle) / float64(parts)
	for _, c := range cs {
		if cost := c.cost(floor, ffn, bundle); cost < least {
			best, least = c, cost
		}
	}
	return best
}
