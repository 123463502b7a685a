package engine

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/predict"
)

const (
	// floorSlack is how far a layer's recall on other text than it was
	// calibrated on may be below what was measured there.
	floorSlack = 0.02
	// A layer is judged by the active neurons of its latest samples: not
	// before leastActive, and by no more than about mostActive.
	leastActive, mostActive = 64, 2048
	// mostLowered is how often a layer's threshold is lowered before it turns
	// exact: each time to a quarter of the energy, or to half as many neurons
	// again.
	mostLowered    = 2
	lowerEnergy    = 0.25
	widerSelection = 1.5
)

// guard watches one layer's recall while decoding.
type guard struct {
	floor   float64          // recall weighted by |activation|
	since   model.LayerAudit // counts to leave out: older, or of another threshold
	lowered int              // times
	exact   bool
}

// newGuards are the layers' guards: what the calibration measured in each
// layer is its floor or, without one, the recall that stands for quality where
// perplexity is not known.
func newGuards(point *predict.Point, c *predict.Calibration, layers int) []guard {
	gs := make([]guard, layers)
	for l := range gs {
		switch {
		case c == nil:
			gs[l].floor = predict.LeastRecall
		case c.Layers[l].Dead:
			gs[l].floor = 0
		case l < len(point.Layers):
			gs[l].floor = point.Layers[l].RecallWeighted - floorSlack
		default:
			gs[l].floor = point.RecallWeighted - 2*floorSlack
		}
	}
	return gs
}

// below reports whether what was sampled since is surely, by two standard
// errors, below the floor.
func (g *guard) below(now model.LayerAudit) bool {
	n := float64(now.Active - g.since.Active)
	weight := now.ActiveWeight - g.since.ActiveWeight
	if n < leastActive || weight <= 0 {
		return false
	}
	recall := (now.FoundWeight - g.since.FoundWeight) / weight
	if n >= mostActive {
		g.since = now
	}
	return recall+2*math.Sqrt(recall*(1-recall)/n) < g.floor
}

// watch acts on a step's sample of a layer: where its recall is below the
// floor, the layer computes more, and if that has not helped, everything.
func (e *Engine) watch(layer int) {
	g, now := &e.guards[layer], e.sampled.Layers[layer]
	if g.exact || e.modes[layer] != config.Predicted || !g.below(now) {
		return
	}
	share := (now.FoundWeight - g.since.FoundWeight) / (now.ActiveWeight - g.since.ActiveWeight)
	g.since = now
	if g.lowered < mostLowered && e.lower(layer) {
		g.lowered++
		e.lowered++
		e.tell("layer %d: sampled recall %.3f is below its floor of %.3f: its threshold is lowered", layer, share, g.floor)
		return
	}
	g.exact = true
	e.exact++
	e.setMode(layer, config.Gate)
	e.tell("layer %d: sampled recall %.3f is below its floor of %.3f whatever the threshold: it turns exact (gate)", layer, share, g.floor)
}

// lower makes a layer compute more neurons. It reports false where it
// cannot.
func (e *Engine) lower(layer int) bool {
	if e.relax == nil {
		return false
	}
	e.relax(layer, math.Pow(lowerEnergy, float64(e.guards[layer].lowered+1)), math.Pow(widerSelection, float64(e.guards[layer].lowered+1)))
	return true
}

func (e *Engine) tell(format string, args ...any) {
	if e.notify != nil {
		e.notify(fmt.Sprintf(format, args...))
	}
}
