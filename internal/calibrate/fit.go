package calibrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/internal/weights"
)

// blockNeurons is how many neurons are fitted at a time.
const blockNeurons = 256

// deadShare is the share of the mean layer's output energy below which a whole
// layer is not worth a sketch.
const deadShare = 1e-3

// fit fits every neuron.
func (c *calibrator) fit(ctx context.Context) (err error) {
	e, err := c.Open(ctx, true, engine.Options{})
	if err != nil {
		return err
	}
	path, profile, threads := e.Pack().Path(), e.Profile(), e.Placement().Threads
	if err := e.Close(); err != nil { // its memory is needed
		return err
	}
	p, err := pack.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	f, err := weights.OpenFile(p, config.IODirect)
	if err != nil {
		return err
	}
	store, err := weights.NewDiskWeightStore(p, f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	be := cpu.New(kernel.Best(), threads)
	defer be.Close()
	ft := fitter{p: p, store: store, be: be, d: profile.HiddenSize, ffn: profile.FFN}
	c.out.Layers = make([]predict.LayerCalibration, profile.Layers)
	layerEnergy := make([]float64, profile.Layers)
	active, total := 0.0, 0.0
	for l := range profile.Layers {
		c.progress("fitting", l, profile.Layers)
		if err := ctx.Err(); err != nil {
			return err
		}
		e, n, err := ft.layer(l, c.inputs[l], &c.out.Layers[l])
		if err != nil {
			return fmt.Errorf("calibrate: layer %d: %w", l, err)
		}
		layerEnergy[l] = e
		total += e
		active += float64(n)
		c.inputs[l] = nil
	}
	for l, e := range layerEnergy {
		c.out.Layers[l].Dead = e < deadShare*total/float64(profile.Layers)
	}
	c.energy = total / max(1, active)
	return nil
}

// fitter fits the neurons of one layer after the other.
type fitter struct {
	p      *pack.Pack
	store  *weights.DiskWeightStore
	be     *cpu.Backend
	d, ffn int
}

// layer fits a layer's neurons to inputs x, [n, d], and returns the sum over
// tokens and neurons of the energy that each activation adds to the output,
// and the number of activations.
func (f *fitter) layer(l int, x []float32, out *predict.LayerCalibration) (energy float64, active int, err error) {
	n := len(x) / f.d
	in := device.Act{Data: x, Rows: n, Cols: f.d, Stride: f.d}
	for _, v := range []*[]float32{&out.Slope, &out.Offset, &out.Sigma, &out.Norm} {
		*v = make([]float32, f.ffn)
	}
	name := fmt.Sprintf("layers.%d.mlp.", l)
	codes, err := f.p.ReadTensor(name + "sketch")
	if err != nil {
		return 0, 0, err
	}
	scales, err := f.p.ReadVector(name + "sketch_scale")
	if err != nil {
		return 0, 0, err
	}
	var bias []float32
	if f.p.Profile().Bias {
		if bias, err = f.p.ReadVector(name + "up.bias"); err != nil {
			return 0, 0, err
		}
	}
	m, err := weights.NewMemory(weights.BufferBytes(blockNeurons * f.p.BundleStride()))
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	slots := device.Slots{Data: m.Buffer(blockNeurons * f.p.BundleStride()), Stride: f.p.BundleStride(),
		DType: f.p.MLPDType(), Cols: f.d, Parts: f.p.Profile().NeuronParts}
	row := pack.SketchBytes(f.d)
	pre, score := device.NewAct(n, blockNeurons), device.NewAct(n, blockNeurons)
	a, b := make([]float32, n), make([]float32, n)
	for first := 0; first < f.ffn; first += blockNeurons {
		count := min(blockNeurons, f.ffn-first)
		if err := f.neurons(l, first, count, slots, out.Norm[first:]); err != nil {
			return 0, 0, err
		}
		sk := device.SketchMat{Codes: codes[first*row:], Scales: scales[first:], RowBytes: row, Rows: count, Cols: f.d}
		f.be.Sketch(score.Colspan(0, count), in, sk)
		f.be.Linear(pre.Colspan(0, count), in, up(slots, count), nil)
		for i := range count {
			add := float32(0)
			if bias != nil {
				add = bias[first+i]
			}
			for t := range n {
				a[t], b[t] = score.Row(t)[i], pre.Row(t)[i]+add
				if b[t] > 0 {
					energy += float64(b[t]) * float64(b[t]) * float64(out.Norm[first+i])
					active++
				}
			}
			mo := predict.Fit(a, b)
			out.Slope[first+i], out.Offset[first+i], out.Sigma[first+i] = float32(mo.Slope), float32(mo.Offset), float32(mo.Sigma)
		}
	}
	return energy, active, nil
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
