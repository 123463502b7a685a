package calibrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// blockNeurons is how many neurons are fitted at a time.
const blockNeurons = 256

// fitParts is into how many parts a block of neurons is cut.
const fitParts = 8

// silentShare is the share of the mean layer's output energy below which the few
// neurons of a layer that fired say nothing about the layer.
const silentShare = 1e-3

// fit fits every neuron of every layer, and chooses the layers' predictors.
func (c *calibrator) fit(ctx context.Context) (err error) {
	p, err := pack.Open(c.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	f, err := disk.OpenFile(p, config.IODirect)
	if err != nil {
		return err
	}
	store, err := disk.NewDiskWeightStore(p, f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	be := cpu.New(kernel.Best(), c.Threads)
	defer be.Close()
	ft := &fitter{c: c, p: p, store: store, be: be, d: c.profile.HiddenSize, ffn: c.profile.FFN}
	layers := c.profile.Layers
	c.out.Layers = make([]predict.LayerCalibration, layers)
	c.factors = make([]lowrank.Layer, layers)
	layerEnergy := make([]float64, layers)
	c.layers, c.bars = make([]float64, layers), make([]float64, layers)
	active, total := 0.0, 0.0
	begin := time.Now()
	for l := range layers {
		c.progress("fitting", l, layers)
		// What finished layers took says more of the others than any estimate.
		if left := leftAfter(time.Since(begin), l, layers); l == 1 && left > time.Minute {
			c.notify("fitted one layer of %d; about %v for the others, before quality is measured", layers, left.Round(time.Minute))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		fit, err := ft.layer(ctx, l)
		if err != nil {
			return fmt.Errorf("calibrate: layer %d: %w", l, err)
		}
		c.out.Layers[l] = fit.out
		layerEnergy[l], c.layers[l] = fit.energy, fit.energy/float64(max(1, fit.active))
		c.bars[l] = fit.bar
		total += fit.energy
		active += float64(fit.active)
	}
	for l, e := range layerEnergy {
		// A floor of recall asks for it in every layer, whatever that adds.
		if e == 0 || c.out.Floor != predict.FloorRecall && e < silentShare*total/float64(layers) {
			c.silence(l)
		}
	}
	c.energy = total / max(1, active)
	return nil
}

// silence takes a layer for one of which nothing is known: what little fired may
// have chosen a predictor that finds nothing on another text.
func (c *calibrator) silence(l int) {
	out := &c.out.Layers[l]
	for i := range out.Silent {
		out.Silent[i] = true
	}
	c.factors[l] = lowrank.Layer{}
	out.Kind, out.Codes = predict.KindSketch, predict.Codes{}
}

// leftAfter is about how long the rest of the layers take after so many took so
// long.
func leftAfter(took time.Duration, done, layers int) time.Duration {
	return time.Duration(float64(took) / float64(max(1, done)) * float64(layers-done))
}

// fitter fits the neurons of one layer after the other.
type fitter struct {
	c      *calibrator
	p      *pack.Pack
	store  *disk.DiskWeightStore
	be     *cpu.Backend
	d, ffn int
}

// fitted is a layer's calibration, and the sum over tokens and neurons of the
// energy that each activation adds to the output, and the number of them.
type fitted struct {
	out    predict.LayerCalibration
	energy float64
	active int
	bar    float64 // of energy, at which the layer about holds predict.FloorRecall
}

// layer fits one layer.
func (f *fitter) layer(ctx context.Context, l int) (fitted, error) {
	x, err := f.c.inputs.layer(l)
	if err != nil {
		return fitted{}, err
	}
	w, err := f.weights(l)
	if err != nil {
		return fitted{}, err
	}
	fitRows := x.Rows
	if f.c.need.factors || f.c.need.codes {
		// What they were learned from says nothing about factors and codes.
		fitRows = x.Rows * 3 / 4
	}
	cs, err := f.candidates(ctx, l, x, w, fitRows)
	if err != nil {
		return fitted{}, err
	}
	r, err := f.blocks(ctx, x, w, fitRows, cs)
	if err != nil {
		return fitted{}, err
	}
	best := cs[0]
	if len(cs) > 1 {
		best = choose(cs, f.c.out.Floor, f.ffn, f.p.BundleBytes(), float64(r.active)/float64(x.Rows*f.ffn))
	}
	if best == nil {
		r.out = cs[0].out
		r.out.Kind = predict.KindGate
		return r, nil
	}
	if best.factors != nil {
		best.fold()
		if f.c.factors[l], err = best.factors.Layer(); err != nil {
			return fitted{}, err
		}
	}
	r.out, r.bar = best.out, best.curve.bar(loss(predict.FloorRecall))
	return r, nil
}

// candidates are the predictors that a layer may have, at least one, learned
// from the first rows tokens of its inputs x.
func (f *fitter) candidates(ctx context.Context, l int, x device.Act, w *weights, rows int) (cs []*candidate, err error) {
	if f.c.Predictor != "lowrank" && f.c.Bits != codeBits {
		sketch, err := f.sketch(l, x)
		if err != nil {
			return nil, err
		}
		cs = append(cs, sketch)
	}
	if !f.c.need.factors && !f.c.need.codes {
		return cs, nil
	}
	mean, cov := covariance(f.be, x.Top(rows))
	var factors []lowrank.Factors
	if f.c.need.factors {
		if factors, err = f.closedForm(ctx, w.floats(0, f.ffn), w.bias, mean, cov, rows, f.c.ranks()); err != nil {
			return nil, err
		}
	}
	if f.c.need.codes {
		codes, err := f.codes(ctx, w, cov)
		if err != nil {
			return nil, err
		}
		cs = append(cs, f.codesCandidate(x, codes))
	}
	for _, v := range factors {
		c, err := factorCandidate(f.be, x, v)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// sketch is the pack's sketch of a layer, for inputs x.
func (f *fitter) sketch(l int, x device.Act) (*candidate, error) {
	name := fmt.Sprintf("layers.%d.mlp.sketch", l)
	codes, err := f.p.ReadTensor(name)
	if err != nil {
		return nil, err
	}
	scales, err := f.p.ReadVector(name + "_scale")
	if err != nil {
		return nil, err
	}
	return sketchCandidate(f.be, x, device.SketchMat{Codes: codes, Scales: scales, RowBytes: pack.SketchBytes(f.d), Rows: f.ffn, Cols: f.d}), nil
}

// weights are what a layer's neurons multiply with.
type weights struct {
	up   device.Mat // first halves, [ffn, d]
	bias []float32  // [ffn], nil without
	norm []float32  // [ffn]: the squared lengths of the second halves
}

// floats are count first halves from first on, [count, d].
func (w *weights) floats(first, count int) []float32 {
	v := make([]float32, count*w.up.Cols)
	tensor.Decode(v, rowsOf(w.up, first, count).Data, w.up.DType)
	return v
}

// weights reads a layer's weights.
func (f *fitter) weights(l int) (w *weights, err error) {
	stride := f.p.BundleStride()
	m, err := memory.New(memory.BufferBytes(blockNeurons * stride))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	slots := device.Slots{Data: m.Buffer(blockNeurons * stride), Stride: stride, DType: f.p.MLPDType(), Cols: f.d, Parts: f.p.Profile().NeuronParts}
	w = &weights{up: device.Mat{DType: slots.DType, Rows: f.ffn, Cols: f.d}, norm: make([]float32, f.ffn)}
	w.up.Data = make([]byte, 0, slots.DType.RowBytes(f.d)*int64(f.ffn))
	down := make([]float32, f.d)
	for first := 0; first < f.ffn; first += blockNeurons {
		dst := make([][]byte, min(blockNeurons, f.ffn-first))
		for i := range dst {
			dst[i] = slots.Bundle(int32(i))
		}
		if err := f.store.ReadNeurons(l, first, dst); err != nil {
			return nil, err
		}
		for i := range dst {
			w.up.Data = append(w.up.Data, slots.Vec(int32(i), 0)...)
			tensor.Decode(down, slots.Vec(int32(i), slots.Parts-1), slots.DType)
			sum := 0.0
			for _, v := range down {
				sum += float64(v) * float64(v)
			}
			w.norm[first+i] = float32(sum)
		}
	}
	if f.p.Profile().Bias {
		w.bias, err = f.p.ReadVector(fmt.Sprintf("layers.%d.mlp.up.bias", l))
	}
	return w, err
}

// blocks fits all candidates to the first fitRows tokens of x and sees on the
// others what they lose.
func (f *fitter) blocks(ctx context.Context, x device.Act, w *weights, fitRows int, cs []*candidate) (r fitted, err error) {
	pre, score := device.NewAct(x.Rows, blockNeurons), device.NewAct(x.Rows, blockNeurons)
	for first := 0; first < f.ffn; first += blockNeurons {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		count := min(blockNeurons, f.ffn-first)
		bias := w.bias
		if bias != nil {
			bias = bias[first : first+count]
		}
		f.be.Linear(pre.Colspan(0, count), x, rowsOf(w.up, first, count), bias)
		for k, c := range cs {
			c.scores(first, count, score.Colspan(0, count))
			for _, p := range f.fitBlock(c, first, count, fitRows, pre, score, w.norm) {
				c.curve.merge(&p.curve)
				if k == 0 {
					r.energy += p.energy
					r.active += p.active
				}
			}
		}
	}
	return r, nil
}

// fitPart is what one thread found.
type fitPart struct {
	curve  frontier
	energy float64
	active int
}

// fitBlock fits a candidate to count neurons from first on, whose true
// pre-activations are pre [tokens, count]. Neurons are dealt to fitParts parts
// whatever the threads, so that sums do not depend on them.
func (f *fitter) fitBlock(c *candidate, first, count, rows int, pre, score device.Act, norm []float32) []fitPart {
	parts := make([]fitPart, fitParts)
	parallel.Each(f.c.Threads, fitParts, func(p int) {
		part := &parts[p]
		a, b := make([]float32, pre.Rows), make([]float32, pre.Rows)
		for i := p * count / fitParts; i < (p+1)*count/fitParts; i++ {
			n := norm[first+i]
			for t := range a {
				a[t], b[t] = score.Row(t)[i], pre.Row(t)[i]
				if b[t] > 0 {
					part.energy += float64(b[t]) * float64(b[t]) * float64(n)
					part.active++
				}
			}
			c.fit(first+i, n, a, b, rows, &part.curve)
		}
	})
	return parts
}

// fit fits neuron i, the squared length of whose second half is norm, to the
// first rows scores and pre-activations, and adds the others to curve, or all
// where there are no others.
func (c *candidate) fit(i int, norm float32, score, pre []float32, rows int, curve *frontier) {
	m := predict.Fit(score[:rows], pre[:rows])
	c.out.Slope[i], c.out.Offset[i], c.out.Sigma[i] = float32(m.Slope), float32(m.Offset), float32(m.Sigma)
	c.out.Norm[i] = norm
	c.out.Silent[i] = slices.Max(pre) <= 0
	if rows == len(score) {
		rows = 0
	}
	for t := rows; t < len(score); t++ {
		expected, v := m.Energy(float64(score[t])), max(0, float64(pre[t]))
		if c.out.Silent[i] {
			expected = 0 // it is not asked for by its energy
		}
		curve.add(expected*float64(norm), v, v*v*float64(norm))
	}
}
