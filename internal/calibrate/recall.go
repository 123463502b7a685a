package calibrate

import (
	"context"
	"math"

	"github.com/sparseflow/sparseflow/internal/predict"
)

const (
	// The threshold of a layer is looked for between these shares, as powers
	// of two, of the energy of its typical active neuron, in bisections halvings.
	carefulShare, carelessShare = -24, 2
	bisections                  = 9
	// A layer is to hold the floor on other text too: this much is left.
	recallRoom, errorRoom = 0.005, 0.01
	// repairs is how often the layers that fail together, though each held the
	// floor while others were at other thresholds, are given half the energy.
	repairs = 3
	// recallPasses is how often the text is run through the model, at most.
	recallPasses = bisections + 1 + repairs
)

// recallPoint finds, for every layer, the highest threshold at which it holds
// predict.FloorRecall, all of them at once: an audited pass tells of each layer
// on its own.
func (c *calibrator) recallPoint(ctx context.Context) error {
	const passes = recallPasses
	m, err := c.measurement(passes)
	if err != nil {
		return err
	}
	low, high := make([]float64, len(c.layers)), make([]float64, len(c.layers))
	for l := range low {
		low[l], high[l] = carefulShare, carelessShare
	}
	try := func(pass int, share []float64) (predict.Point, error) {
		c.progress("measuring recall", pass, passes)
		p := predict.Point{MinEnergy: c.energy, Layers: make([]predict.LayerPoint, len(share))}
		for l, s := range share {
			p.Layers[l].MinEnergy = max(math.SmallestNonzeroFloat32, c.layers[l]*math.Exp2(s))
		}
		return m.at(ctx, p)
	}
	mid := make([]float64, len(low))
	for pass := range bisections {
		for l := range mid {
			mid[l] = (low[l] + high[l]) / 2
		}
		p, err := try(pass, mid)
		if err != nil {
			return err
		}
		for l := range mid {
			if holds(p.Layers[l]) {
				low[l] = mid[l]
			} else {
				high[l] = mid[l]
			}
		}
	}
	for pass := bisections; ; pass++ {
		p, err := try(pass, low)
		if err != nil {
			return err
		}
		c.out.Points = []predict.Point{p}
		if pass == passes-1 || p.HoldsRecall() {
			return nil
		}
		for l := range low {
			if !holds(p.Layers[l]) {
				low[l]--
			}
		}
	}
}

// holds reports whether a layer holds the floor with something left.
func holds(l predict.LayerPoint) bool {
	return l.RecallWeighted >= predict.LeastRecall+recallRoom && l.MLPError <= predict.MostError-errorRoom
}
