package calibrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/parallel"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// blockNeurons is how many neurons are fitted at a time.
const blockNeurons = 256

// fitParts is into how many parts a block of neurons is cut.
const fitParts = 8

// deadShare is the share of the mean layer's output energy below which a whole
// layer is not worth a sketch.
const deadShare = 1e-3

// fit fits every neuron, and trains where that may pay.
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
	layerEnergy := make([]float64, layers)
	c.layers, c.bars = make([]float64, layers), make([]float64, layers)
	active, total := 0.0, 0.0
	for l := range layers {
		c.progress("fitting", l, layers)
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
		if c.out.Floor != predict.FloorRecall && e < deadShare*total/float64(layers) {
			c.out.Layers[l].Dead = true
			delete(c.factors, l)
			c.out.Layers[l].Kind, c.out.Layers[l].Codes = predict.KindSketch, predict.Codes{}
		}
	}
	c.energy = total / max(1, active)
	return nil
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
	n := len(x) / f.d
	in := device.Act{Data: x, Rows: n, Cols: f.d, Stride: f.d}
	sketch, bias, err := f.sketch(l, in)
	if err != nil {
		return fitted{}, err
	}
	candidates, fitRows := []*candidate{sketch}, n
	if f.c.need.train || f.c.need.codes {
		// What they were learned from says nothing about factors and codes.
		fitRows = n * 3 / 4
	}
	if f.c.need.codes {
		codes, err := f.codes(ctx, l, in.Top(fitRows))
		if err != nil {
			return fitted{}, err
		}
		candidates = append(candidates, codesCandidate(f.be, in, codes, f.ffn))
		if f.c.Bits > 0 {
			candidates = candidates[1:]
		}
	}
	if f.c.need.train {
		factors, err := f.factors(ctx, l, in, bias, fitRows)
		if err != nil {
			return fitted{}, err
		}
		for _, v := range factors {
			c, err := factorCandidate(f.be, in, v)
			if err != nil {
				return fitted{}, err
			}
			candidates = append(candidates, c)
		}
		if f.c.Predictor == "lowrank" && len(factors) > 0 {
			candidates = candidates[1:]
		}
	}
	r, err := f.blocks(ctx, l, in, bias, fitRows, candidates)
	if err != nil {
		return fitted{}, err
	}
	best := candidates[0]
	if len(candidates) > 1 {
		best = choose(candidates, f.c.out.Floor, f.ffn, f.p.BundleBytes(), float64(r.active)/float64(n*f.ffn))
	}
	switch {
	case best == nil:
		r.out = candidates[0].out
		r.out.Kind = predict.KindGate
		return r, nil
	case best.kind == predict.KindLowRank:
		best.fold(best.factors)
		f.c.factors[l] = best.factors
	}
	r.out, r.bar = best.out, best.curve.bar(loss(predict.FloorRecall))
	return r, nil
}

// sketch is a layer's sketch for inputs x, and its bias, nil without.
func (f *fitter) sketch(l int, x device.Act) (*candidate, []float32, error) {
	name := fmt.Sprintf("layers.%d.mlp.", l)
	codes, err := f.p.ReadTensor(name + "sketch")
	if err != nil {
		return nil, nil, err
	}
	scales, err := f.p.ReadVector(name + "sketch_scale")
	if err != nil {
		return nil, nil, err
	}
	var bias []float32
	if f.p.Profile().Bias {
		if bias, err = f.p.ReadVector(name + "up.bias"); err != nil {
			return nil, nil, err
		}
	}
	sk := device.SketchMat{Codes: codes, Scales: scales, RowBytes: pack.SketchBytes(f.d), Rows: f.ffn, Cols: f.d}
	return sketchCandidate(f.be, x, sk), bias, nil
}

// slots is room for a block of neurons, to be closed.
func (f *fitter) slots() (*memory.Memory, device.Slots, error) {
	m, err := memory.New(memory.BufferBytes(blockNeurons * f.p.BundleStride()))
	if err != nil {
		return nil, device.Slots{}, err
	}
	return m, device.Slots{Data: m.Buffer(blockNeurons * f.p.BundleStride()), Stride: f.p.BundleStride(),
		DType: f.p.MLPDType(), Cols: f.d, Parts: f.p.Profile().NeuronParts}, nil
}

// blocks fits all candidates to the first fitRows tokens of x and sees on the
// others what they lose.
func (f *fitter) blocks(ctx context.Context, l int, x device.Act, bias []float32, fitRows int, cs []*candidate) (r fitted, err error) {
	m, slots, err := f.slots()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	n := x.Rows
	pre, score := device.NewAct(n, blockNeurons), device.NewAct(n, blockNeurons)
	norm := make([]float32, blockNeurons)
	for first := 0; first < f.ffn; first += blockNeurons {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		count := min(blockNeurons, f.ffn-first)
		if err := f.neurons(l, first, count, slots, norm); err != nil {
			return r, err
		}
		f.be.Linear(pre.Colspan(0, count), x, up(slots, count), nil)
		for k, c := range cs {
			c.scores(first, count, score.Colspan(0, count))
			parts := f.fitBlock(c, first, count, fitRows, pre, score, bias, norm)
			for _, p := range parts {
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
// pre-activations without bias are pre [tokens, count]. Neurons are dealt to
// fitParts parts whatever the threads, so that sums do not depend on them.
func (f *fitter) fitBlock(c *candidate, first, count, rows int, pre, score device.Act, bias, norm []float32) []fitPart {
	parts := make([]fitPart, fitParts)
	parallel.For(f.c.Threads, fitParts, 1, func(p, _ int) {
		part := &parts[p]
		a, b := make([]float32, pre.Rows), make([]float32, pre.Rows)
		for i := p * count / fitParts; i < (p+1)*count/fitParts; i++ {
			add := float32(0)
			if bias != nil {
				add = bias[first+i]
			}
			for t := range a {
				a[t], b[t] = score.Row(t)[i], pre.Row(t)[i]+add
				if b[t] > 0 {
					part.energy += float64(b[t]) * float64(b[t]) * float64(norm[i])
					part.active++
				}
			}
			c.fit(first+i, norm[i], a, b, rows, &part.curve)
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
	if rows == len(score) {
		rows = 0
	}
	for t := rows; t < len(score); t++ {
		v := max(0, float64(pre[t]))
		curve.add(m.Energy(float64(score[t]))*float64(norm), v, v*v*float64(norm))
	}
}

// neurons reads count neurons into slots and sets norm to the squared length
// of their second halves.
func (f *fitter) neurons(l, first, count int, slots device.Slots, norm []float32) error {
	dst := make([][]byte, count)
	for i := range dst {
		dst[i] = slots.Bundle(int32(i))
	}
	if err := f.store.ReadNeurons(l, first, dst); err != nil {
		return err
	}
	v := make([]float32, f.d)
	for i := range count {
		tensor.Decode(v, slots.Vec(int32(i), slots.Parts-1), slots.DType)
		sum := 0.0
		for _, x := range v {
			sum += float64(x) * float64(x)
		}
		norm[i] = float32(sum)
	}
	return nil
}

// up is the first halves of the neurons in slots, as a matrix of their own.
func up(s device.Slots, count int) device.Mat {
	m := device.Mat{DType: s.DType, Rows: count, Cols: s.Cols}
	for i := range count {
		m.Data = append(m.Data, s.Vec(int32(i), 0)...)
	}
	return m
}
