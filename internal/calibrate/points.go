package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/quality"
)

// points evaluates the calibration at the points that its floor asks for.
func (c *calibrator) points(ctx context.Context) error {
	if c.out.Floor == predict.FloorRecall {
		return c.recallPoint(ctx)
	}
	grid := thresholds(c.energy)
	m, err := c.measurement(len(grid))
	if err != nil {
		return err
	}
	for i, least := range grid {
		c.progress("measuring quality", i, len(grid))
		point, err := m.at(ctx, predict.Point{MinEnergy: least})
		if err != nil {
			return err
		}
		c.out.Points = append(c.out.Points, point)
		if point.Cost() > worstChange {
			break // nobody will ask for what lies beyond
		}
	}
	return nil
}

// measurement evaluates points on text that the fit has not seen.
type measurement struct {
	c       *calibrator
	ids     []int32
	exact   quality.ExactPass
	reserve int64 // bytes that are on the heap beside the open model
}

// measurement is one of n points.
func (c *calibrator) measurement(points int) (*measurement, error) {
	n := int(pointWork / (2 * c.params() * float64(points)))
	n = min(max(n, leastPoint), pointTokens, len(c.IDs)-c.used)
	c.out.Text, c.out.Tokens = c.Text, c.used+n
	if took := time.Duration(c.pace * float64(n*points) * float64(time.Second)); took > time.Minute && c.Notify != nil {
		c.Notify(fmt.Sprintf("measuring %d points on %d tokens each takes about %v", points, n, took.Round(time.Minute)))
	}
	m := &measurement{c: c, ids: c.IDs[c.used : c.used+n]}
	m.reserve = inputBytes(1, c.profile.HiddenSize, n+n/max(1, c.Context-1)+1) // the exact pass
	for _, l := range c.factors {
		m.reserve += l.Bytes()
	}
	return m, nil
}

// at measures a point of which the energies are given.
func (m *measurement) at(ctx context.Context, point predict.Point) (predict.Point, error) {
	try := m.c.out
	try.Points = []predict.Point{point}
	e, err := m.c.Open(ctx, false, m.reserve, engine.Options{Calibration: &try, LowRank: m.c.factors})
	if err != nil {
		return point, err
	}
	r, err := quality.Compare(ctx, e, m.ids, quality.Options{Exact: &m.exact})
	if err = errors.Join(err, e.Close()); err != nil {
		return point, err
	}
	point.PPLChange, point.KL = r.Change(), r.KL
	point.Recall, point.RecallWeighted = r.All.Recall(), r.All.RecallWeighted()
	point.MLPError = r.All.OutputError()
	point.Active, point.Computed = r.All.ActiveShare(), r.All.ComputedShare()
	layers := make([]predict.LayerPoint, len(r.Layers))
	for l, a := range r.Layers {
		layers[l] = predict.LayerPoint{RecallWeighted: a.RecallWeighted(), MLPError: a.OutputError()}
		if l < len(point.Layers) {
			layers[l].MinEnergy = point.Layers[l].MinEnergy
		}
	}
	point.Layers = layers
	if bad := point.PPLChange; math.IsNaN(bad) || math.IsInf(bad, 0) {
		return point, fmt.Errorf("calibrate: perplexity: got a change of %v, want a finite one: the model's weights are damaged", bad)
	}
	return point, nil
}

// worstChange ends the curve: 5 % is ten times what is allowed by default.
const worstChange = 0.05

// thresholds are the points' energies, as shares of a typical active neuron's.
func thresholds(typical float64) []float64 {
	var grid []float64
	for share := 1.0 / 2048; share < 1.0/8; share *= math.Sqrt2 {
		grid = append(grid, share*typical)
	}
	return grid
}
