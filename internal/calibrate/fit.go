package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
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
		best = choose(cs, f.c.out.Floor, f.ffn, f.c.profile.NeuronParts, f.p.BundleBytes(), float64(r.active)/float64(x.Rows*f.ffn))
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
		if factors, err = f.closedForm(ctx, w.floats(0, f.ffn), w.bias[0], mean, cov, rows, f.c.ranks()); err != nil {
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
	parts [2]device.Mat // those before the last, [ffn, d]; the second is empty in neurons of two
	bias  [2][]float32  // [ffn] of each, nil without
	norm  []float32     // [ffn]: the squared lengths of the last parts
}

// floats are count first parts from first on, [count, d].
func (w *weights) floats(first, count int) []float32 {
	m := w.parts[0]
	v := make([]float32, count*m.Cols)
	tensor.Decode(v, rowsOf(m, first, count).Data, m.DType)
	return v
}

// products sets y [tokens, count] to what inputs x give with a part of the neurons
// from first on.
func (w *weights) products(be *cpu.Backend, y, x device.Act, part, first, count int) device.Act {
	bias := w.bias[part]
	if bias != nil {
		bias = bias[first : first+count]
	}
	y = y.Colspan(0, count)
	be.Linear(y, x, rowsOf(w.parts[part], first, count), bias)
	return y
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
	w = &weights{norm: make([]float32, f.ffn)}
	for part := range slots.Parts - 1 {
		w.parts[part] = device.Mat{DType: slots.DType, Rows: f.ffn, Cols: f.d, Data: make([]byte, 0, slots.DType.RowBytes(f.d)*int64(f.ffn))}
	}
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
			for part := range slots.Parts - 1 {
				w.parts[part].Data = append(w.parts[part].Data, slots.Vec(int32(i), part)...)
			}
			tensor.Decode(down, slots.Vec(int32(i), slots.Parts-1), slots.DType)
			sum := 0.0
			for _, v := range down {
				sum += float64(v) * float64(v)
			}
			w.norm[first+i] = float32(sum)
		}
	}
	for part, t := range f.c.profile.NeuronTensors(l)[:slots.Parts-1] {
		name := strings.TrimSuffix(t.Name, "weight") + "bias"
		if _, ok := f.p.Tensor(name); ok && err == nil {
			w.bias[part], err = f.p.ReadVector(name)
		}
	}
	return w, err
}

// blocks fits all candidates to the first fitRows tokens of x and sees on the
// others what they lose.
func (f *fitter) blocks(ctx context.Context, x device.Act, w *weights, fitRows int, cs []*candidate) (r fitted, err error) {
	var room [2]device.Act // for products
	for part := range f.p.Profile().NeuronParts - 1 {
		room[part] = device.NewAct(x.Rows, blockNeurons)
	}
	score := device.NewAct(x.Rows, blockNeurons)
	for first := 0; first < f.ffn; first += blockNeurons {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		b := block{first: first, count: min(blockNeurons, f.ffn-first), norm: w.norm}
		b.pre = w.products(f.be, room[0], x, 0, first, b.count)
		if room[1].Data != nil {
			b.second = w.products(f.be, room[1], x, 1, first, b.count)
		}
		for k, c := range cs {
			b.score = score.Colspan(0, b.count)
			c.scores(first, b.count, b.score)
			for _, p := range f.fitBlock(c, fitRows, b) {
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

// block is count neurons from first on, being fitted: what a candidate says of
// them, what their first parts give and, in neurons of three, the second ones,
// all [tokens, count].
type block struct {
	first, count       int
	score, pre, second device.Act
	norm               []float32 // [ffn]
}

// fitPart is what one thread found.
type fitPart struct {
	curve  frontier
	energy float64
	active int
}

// fitBlock fits a candidate to a block. Neurons are dealt to fitParts parts
// whatever the threads, so that sums do not depend on them.
func (f *fitter) fitBlock(c *candidate, rows int, b block) []fitPart {
	parts := make([]fitPart, fitParts)
	parallel.Each(f.c.Threads, fitParts, func(p int) {
		part := &parts[p]
		n := newNeuron(b.pre.Rows)
		for i := p * b.count / fitParts; i < (p+1)*b.count/fitParts; i++ {
			n.read(b, i, f.c.profile)
			for _, v := range n.value {
				if v != 0 {
					part.energy += float64(v) * float64(v) * float64(n.norm)
					part.active++
				}
			}
			c.fit(b.first+i, n, rows, &part.curve)
		}
	})
	return parts
}

// neuron is one of a block.
type neuron struct {
	score, pre, value []float32 // [tokens]; value is the activation
	norm              float32   // the squared length of its last part
	// gain is the mean square of what its second part multiplies by, 1 in neurons
	// of two.
	gain float64
}

func newNeuron(tokens int) *neuron {
	return &neuron{score: make([]float32, tokens), pre: make([]float32, tokens), value: make([]float32, tokens)}
}

// read sets n to the i-th of a block.
func (n *neuron) read(b block, i int, p config.ModelProfile) {
	n.norm, n.gain = b.norm[b.first+i], 1
	for t := range n.pre {
		n.score[t], n.pre[t] = b.score.Row(t)[i], b.pre.Row(t)[i]
		if v := n.pre[t]; v > p.Threshold {
			n.value[t] = v
		} else {
			n.value[t] = 0
		}
	}
	if b.second.Data == nil {
		return
	}
	n.gain = 0
	for t := range n.value {
		v := b.second.Row(t)[i]
		if p.Activation == config.DReLU {
			v = max(0, v)
		}
		n.value[t] *= v
		n.gain += float64(v) * float64(v) / float64(len(n.value))
	}
}

// fit fits neuron i to the first rows scores and pre-activations, and adds the
// others to curve, or all where there are no others. What the second part
// multiplies by is not predicted: its mean square is taken for it.
func (c *candidate) fit(i int, n *neuron, rows int, curve *frontier) {
	m := predict.Fit(n.score[:rows], n.pre[:rows])
	norm := float64(n.norm) * n.gain
	c.out.Slope[i], c.out.Offset[i], c.out.Sigma[i] = float32(m.Slope), float32(m.Offset), float32(m.Sigma)
	c.out.Norm[i] = float32(norm)
	c.out.Silent[i] = !slices.ContainsFunc(n.value, func(v float32) bool { return v != 0 })
	if rows == len(n.score) {
		rows = 0
	}
	for t := rows; t < len(n.score); t++ {
		expected, v := m.Energy(float64(n.score[t])), math.Abs(float64(n.value[t]))
		if c.out.Silent[i] {
			expected = 0 // it is not asked for by its energy
		}
		curve.add(expected*norm, v, v*v*float64(n.norm))
	}
}
