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
	"github.com/sparseflow/sparseflow/internal/device"
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
	if _, err := o.policy(profile.Units()); err != nil {
		return nil, err
	}
	if err := checkPredictor(o); err != nil {
		return nil, err
	}
	root := os.DirFS("/")
	processors := placement.Processors(root, runtime.NumCPU())
	shares, from, like := activity(p, o)
	in := placement.Input{
		Layout:       p,
		Strategy:     o.Strategy,
		Layers:       layersOf(p, o, shares),
		Counts:       o.Counts,
		ActiveFrom:   from,
		ActiveLike:   like,
		ScratchBytes: func(chunk int) int64 { return model.ScratchBytes(profile, chunk) },
		BackendBytes: func(chunk int) int64 { return backendBytes(p, cmp.Or(o.Strategy.Threads, processors), chunk) },
		FreeBytes:    placement.FreeBytes(root),
		Processors:   processors,
		RingSlots:    o.RingSlots,
	}
	place, err := placement.Plan(in)
	if place == nil {
		return nil, err
	}
	if with := withGates(in, o, shares, place); err == nil && with != nil {
		place = with
	}
	if place.Auto {
		place.Chosen = choiceOf(place).Summary()
	}
	if profile.Synthetic {
		place.Notices = append(place.Notices, syntheticNotice)
	}
	if c := o.Calibration; c != nil && c.DType != "" && c.DType != p.MLPDType().String() && place.Mode == config.Predicted {
		place.Notices = append(place.Notices, fmt.Sprintf("the predictor was calibrated on %s weights, these are %s: what is said of quality is of those; sparseflow train learns about these", c.DType, p.MLPDType()))
	}
	return place, err
}

// withGates is the placement of gated neurons in mode gate that has all gates in fast
// memory and reads only what they open, nil where place reads no more. What is
// computed is the same.
func withGates(in placement.Input, o Options, shares []float64, place *placement.Placement) *placement.Placement {
	p := in.Layout.Profile()
	if !p.Sparse() || p.NeuronParts != 3 || place.Mode != config.Gate {
		return nil
	}
	o.Predictor, o.Strategy.Mode, o.Strategy.Predictor = nil, config.Predicted, "oracle"
	in.Layers = layersOf(in.Layout, o, shares)
	with, err := placement.Plan(in)
	if err != nil || with.Token.SlowBytes >= place.Token.SlowBytes {
		return nil
	}
	with.Mode, with.Gates = config.Gate, true
	// The smallest budget streams all neurons, and with room for all there are no
	// gates apart.
	for _, b := range []struct{ to, from *placement.Account }{{&with.Process, &place.Process}, {&with.Share, &place.Share}} {
		b.to.MinimumBytes, b.to.TotalBytes = b.from.MinimumBytes, b.from.TotalBytes
	}
	return with
}

// backendBytes is what the backend needs to round the activations of chunk tokens and
// to compute them together.
func backendBytes(l *pack.Layout, threads, chunk int) int64 {
	p := l.Profile()
	cols, records, experts := p.HiddenSize, cpu.RecordBytes(l.MLPDType(), chunk, p.HiddenSize), int64(0)
	for _, t := range l.Tensors() {
		if t.Kind == pack.Matrix {
			cols, records = max(cols, t.Cols), max(records, cpu.RecordBytes(t.Elem, chunk, t.Cols))
		}
	}
	for i := range p.Layers {
		var parts [3]device.ExpertPart
		for j, x := range l.ExpertParts(i) {
			parts[j], cols = device.ExpertPart(x), max(cols, x.Cols)
		}
		if k := p.MoE(i).TopK; k > 0 {
			experts = max(experts, cpu.ExpertBytes(parts, chunk, k))
		}
	}
	head, ok := l.Tensor("head")
	if !ok {
		head, _ = l.Tensor("embed.tokens")
	}
	records = max(records, cpu.FineBytes(head.Elem, min(chunk, model.LogitRows), head.Cols))
	n := records + experts + cpu.TileBytes(threads, cols, chunk, model.HiddenSize(p, chunk))
	if p.Sparse() && p.NeuronParts == 3 {
		n += cpu.GateBytes(p.FFN, model.HiddenSize(p, chunk))
	}
	return n
}

// syntheticNotice is what everybody who runs drawn weights is told.
const syntheticNotice = "the weights are synthetic: drawn, not trained; speed and sparsity mean something, text and perplexity nothing"

// activity is the share of each layer's neurons that is active at a token, how that
// is known and, where it is assumed, of which published model.
func activity(l *pack.Layout, o Options) (shares []float64, from placement.Activity, like string) {
	p, c := l.Profile(), o.calibrated()
	switch {
	case p.Experts() > 0:
		if shares = make([]float64, p.Layers); o.Counts == nil {
			return shares, placement.Assumed, ""
		}
	case o.Counts != nil:
		for i := range p.Layers {
			shares = append(shares, o.Counts.Active(i))
		}
	case o.Active != nil:
		shares = o.Active
	case p.ActiveShares != nil:
		return p.ActiveShares, placement.Drawn, ""
	case c != nil:
		point, _ := c.Choose(o.quality())
		shares = placement.PublishedShares(p.Layers, point.Active)
	default:
		shares, like = placement.AssumedShares(p)
		return shares, placement.Assumed, like
	}
	return shares, placement.Measured, ""
}

// layersOf is what each layer computes, if shares of its neurons are active.
func layersOf(l *pack.Layout, o Options, shares []float64) (all []placement.Layer) {
	multiple, least := float64(predict.SilentMultiple), 0.0
	switch c := o.calibrated(); {
	case o.Predictor != nil || o.Strategy.Predictor == "oracle":
		multiple = 1
	case o.Strategy.Predictor == "all":
		least = 1
	case c != nil:
		point, _ := c.Choose(o.quality())
		multiple = point.Computed / point.Active
	}
	for i, mode := range modesOf(l, o) {
		x := placement.Layer{Mode: mode, Active: shares[i], Computed: min(1, max(least, multiple*shares[i]))}
		if mode == config.Predicted {
			x.PredictorBytes, x.HeapBytes = predictorBytes(l, o, i)
		}
		all = append(all, x)
	}
	return all
}

// Predictors are the names that a strategy can give.
func Predictors() []string { return []string{"sketch", "lowrank", "oracle", "all"} }

// checkPredictor sees that there is a predictor of the strategy's name, and all
// that it needs.
func checkPredictor(o Options) error {
	if c := o.Calibration; c != nil {
		for l := range c.Layers {
			if c.Layers[l].Kind == predict.KindLowRank && (l >= len(o.LowRank) || o.LowRank[l].Empty()) {
				return fmt.Errorf("engine: predictor: layer %d: got a calibration of trained factors and no factors, want both: train again", l)
			}
		}
	}
	switch name := o.Strategy.Predictor; {
	case o.Predictor != nil || name == "":
		return nil
	case !slices.Contains(Predictors(), name):
		return fmt.Errorf("engine: predictor: got %q, want one of %s", name, strings.Join(Predictors(), ", "))
	case name == "lowrank" && !slices.ContainsFunc(o.LowRank, func(l lowrank.Layer) bool { return !l.Empty() }):
		return errors.New("engine: predictor: got lowrank and no trained factors, want some: run train --predictor lowrank first")
	}
	return nil
}

// predictorBytes is the memory of a layer's predictor, and what of it is on the
// heap, where the sidecar was read to: factors, and codes of a layer's own.
func predictorBytes(l *pack.Layout, o Options, layer int) (all, heap int64) {
	p := l.Profile()
	codes := memory.PieceBytes(int64(p.FFN) * int64(pack.SketchBytes(p.HiddenSize)))
	floats := memory.PieceBytes(4 * int64(p.FFN)) // one for each neuron
	switch {
	case o.Strategy.Predictor == "oracle" && o.Predictor == nil:
		return memory.PieceBytes(int64(p.FFN) * l.MLPDType().RowBytes(p.HiddenSize)), 0
	case o.ownPredictor():
		return 0, 0
	case o.Calibration == nil:
		return codes + floats, 0
	}
	switch c := &o.Calibration.Layers[layer]; {
	case c.Kind == predict.KindLowRank:
		heap = placement.OnHeap(o.LowRank[layer].Bytes())
		return heap + floats, heap
	case c.Codes.Bits > 0:
		heap = placement.OnHeap(int64(len(c.Codes.Rows)))
		return heap + 2*floats, heap
	}
	return codes + 2*floats, 0
}
