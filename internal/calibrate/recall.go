package calibrate

import (
	"context"
	"math"

	"github.com/sparseflow/sparseflow/internal/predict"
)

const (
	// A layer is to hold the floor on other text too: this much is left.
	recallRoom, errorRoom = 0.005, 0.01
	// refinements is how often the thresholds that the fit suggests are moved,
	// by an octave of energy and then by half as much each time.
	refinements = 4
	// repairs is how often the layers that fail together, though each held the
	// floor while others were at other thresholds, are given half the energy.
	repairs = 3
	// carefulShare is the threshold of a layer of which the fit says nothing.
	carefulShare = -8
	// recallPasses is how often the text is run through the model, at most.
	recallPasses = refinements + 1 + repairs
)

// recallPoint finds, for every layer, the highest threshold at which it holds
// predict.FloorRecall, all of them at once: an audited pass tells of each layer
// on its own.
func (c *calibrator) recallPoint(ctx context.Context) error {
	m, err := c.measurement(recallPasses)
	if err != nil {
		return err
	}
	// Thresholds are powers of two of the energy of the layer's typical active
	// neuron.
	share, best := make([]float64, len(c.layers)), make([]float64, len(c.layers))
	for l := range share {
		if share[l] = carefulShare; c.bars[l] > 0 && c.layers[l] > 0 {
			share[l] = math.Log2(c.bars[l] / c.layers[l])
		}
		best[l] = math.Inf(-1)
	}
	for pass := range recallPasses {
		c.progress("measuring recall", pass, recallPasses)
		p := predict.Point{MinEnergy: c.energy, Layers: make([]predict.LayerPoint, len(share))}
		for l, s := range share {
			p.Layers[l].MinEnergy = max(math.SmallestNonzeroFloat32, c.layers[l]*math.Exp2(s))
		}
		if p, err = m.at(ctx, p); err != nil {
			return err
		}
		c.out.Points = []predict.Point{p}
		if pass >= refinements && p.HoldsRecall() {
			break
		}
		for l := range share {
			held := holds(p.Layers[l])
			if pass < refinements {
				share[l], best[l] = refine(share[l], best[l], math.Exp2(-float64(pass)), held)
			} else if !held {
				share[l]--
			}
			// The repairs go on from the highest that held or, where none did,
			// from the lowest tried.
			if pass == refinements-1 && !math.IsInf(best[l], -1) {
				share[l] = best[l]
			}
		}
	}
	return nil
}

// refine is where to try next, and the highest threshold that holds so far,
// once share has been tried.
func refine(share, best, step float64, holds bool) (next, highest float64) {
	if holds {
		return share + step, max(best, share)
	}
	return share - step, best
}

// holds reports whether a layer holds the floor with something left.
func holds(l predict.LayerPoint) bool {
	return l.RecallWeighted >= predict.LeastRecall+recallRoom && l.MLPError <= predict.MostError-errorRoom
}
