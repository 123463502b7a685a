package engine

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

// Plan places a pack, which need not exist yet, without loading anything. A
// *placement.BudgetError comes with the placement.
func Plan(p *pack.Layout, o Options) (*placement.Placement, error) {
	profile := p.Profile()
	if _, err := o.policy(profile.FFN); err != nil {
		return nil, err
	}
	bytes, heap, err := predictorBytes(p, o)
	if err != nil {
		return nil, err
	}
	root := os.DirFS("/")
	processors := placement.Processors(root, runtime.NumCPU())
	place, err := placement.Plan(placement.Input{
		Layout:             p,
		Strategy:           o.Strategy,
		Modes:              modesOf(p, o),
		PredictorBytes:     bytes,
		PredictorHeapBytes: heap,
		Layers:             layers(profile, o),
		Counts:             o.Counts,
		ScratchBytes:       func(chunk int) int64 { return scratchBytes(p, cmp.Or(o.Strategy.Threads, processors), chunk) },
		FreeBytes:          placement.FreeBytes(root),
		Processors:         processors,
		RingSlots:          o.RingSlots,
	})
	if place != nil && place.Auto {
		place.Chosen = choiceOf(place).Summary()
	}
	if place != nil && profile.Synthetic {
		place.Notices = append(place.Notices, syntheticNotice)
	}
	if c := o.Calibration; place != nil && c != nil && c.DType != "" && c.DType != p.MLPDType().String() && place.Mode == config.Predicted {
		place.Notices = append(place.Notices, fmt.Sprintf("the predictor was calibrated on %s weights, these are %s: what is said of quality is of those; sparseflow train learns about these", c.DType, p.MLPDType()))
	}
	return place, err
}

// scratchBytes is the memory of the activations of chunk tokens, and of what the
// backend needs to round them and to compute them together.
func scratchBytes(l *pack.Layout, threads, chunk int) int64 {
	p := l.Profile()
	cols := max(p.HiddenSize, p.EmbedDim)
	return model.ScratchBytes(p, chunk) +
		max(cpu.RecordBytes(l.AttnDType(), chunk, cols), cpu.RecordBytes(l.MLPDType(), chunk, cols)) +
		cpu.TileBytes(threads, cols, chunk, model.HiddenSize(p, chunk))
}

// syntheticNotice is what everybody who runs drawn weights is told.
const syntheticNotice = "the weights are synthetic: drawn, not trained; speed and sparsity mean something, text and perplexity nothing"

// layers is what is known of the neurons that each layer computes.
func layers(p config.ModelProfile, o Options) []placement.Layer {
	all := make([]placement.Layer, p.Layers)
	shares := placement.PublishedShares(p.Layers, placement.PublishedActive)
	var point predict.Point
	c := o.calibrated()
	if c != nil {
		point, _ = c.Choose(o.quality())
		shares = placement.PublishedShares(p.Layers, point.Active)
	}
	for l := range all {
		if o.Counts != nil {
			shares[l] = o.Counts.Active(l)
		}
		computed := predict.SilentMultiple * shares[l]
		switch {
		case o.Predictor != nil || o.Strategy.Predictor == "oracle":
			computed = shares[l]
		case o.Strategy.Predictor == "all":
			computed = 1
		case c != nil:
			computed = shares[l] * point.Computed / point.Active
		}
		all[l] = placement.Layer{Active: shares[l], Computed: min(1, computed)}
	}
	return all
}

// Predictors are the names that a strategy can give.
func Predictors() []string { return []string{"sketch", "lowrank", "oracle", "all"} }

// predictorBytes is the memory of each layer's predictor, and what of it is on
// the heap, where the sidecar was read to: factors, and codes of a layer's own.
func predictorBytes(p *pack.Layout, o Options) (all, heap func(layer int) int64, err error) {
	profile := p.Profile()
	rows := memory.PieceBytes(4 * int64(profile.FFN)) // a float32 for each neuron
	if c := o.Calibration; c != nil {
		for l := range c.Layers {
			if c.Layers[l].Kind == predict.KindLowRank && (l >= len(o.LowRank) || o.LowRank[l].Empty()) {
				return nil, nil, fmt.Errorf("engine: predictor: layer %d: got a calibration of trained factors and no factors, want both: train again", l)
			}
		}
	}
	switch name := o.Strategy.Predictor; {
	case o.Predictor != nil || name == "all":
		return nil, nil, nil
	case name == "lowrank" && !slices.ContainsFunc(o.LowRank, func(l lowrank.Layer) bool { return !l.Empty() }):
		return nil, nil, errors.New("engine: predictor: got lowrank and no trained factors, want some: run train --predictor lowrank first")
	case name == "" || name == "sketch" || name == "lowrank":
		codes := memory.PieceBytes(int64(profile.FFN) * int64(pack.SketchBytes(profile.HiddenSize)))
		if o.Calibration == nil {
			return func(int) int64 { return codes + rows }, nil, nil
		}
		heap = func(layer int) int64 {
			if c := &o.Calibration.Layers[layer]; c.Kind != predict.KindLowRank {
				return placement.OnHeap(int64(len(c.Codes.Rows)))
			}
			return placement.OnHeap(o.LowRank[layer].Bytes())
		}
		return func(layer int) int64 {
			switch c := &o.Calibration.Layers[layer]; {
			case c.Kind == predict.KindLowRank:
				return heap(layer) + rows
			case c.Codes.Bits > 0:
				return heap(layer) + 2*rows
			}
			return codes + 2*rows
		}, heap, nil
	case name == "oracle":
		n := memory.PieceBytes(int64(profile.FFN) * p.MLPDType().RowBytes(profile.HiddenSize))
		return func(int) int64 { return n }, nil, nil
	default:
		return nil, nil, fmt.Errorf("engine: predictor: got %q, want one of %s", name, strings.Join(Predictors(), ", "))
	}
}
