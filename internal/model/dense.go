package model

import "github.com/sparseflow/sparseflow/internal/device"

// DenseMLPLayer is the MLP half of a decoder layer whose activation function gives
// no exact zeros: every token needs all of its matrices, which are resident or
// stream as any other.
type DenseMLPLayer struct {
	*Parts
	w *LayerWeights
}

// apply sets y to the MLP of x.
func (l *DenseMLPLayer) apply(ec *ExecutionContext, y, x device.Act) error {
	width := l.w.Up.Tensor.Rows
	h, up := ec.up.Colspan(0, width), device.Act{}
	if l.w.Gate.Tensor.Name != "" {
		h, up = ec.gate.Colspan(0, width), h
		if err := l.linear(ec, h, x, &l.w.Gate); err != nil {
			return err
		}
	}
	if err := l.linear(ec, ec.up.Colspan(0, width), x, &l.w.Up); err != nil {
		return err
	}
	l.Backend.Gate(h, up, l.Profile.Activation)
	return l.linear(ec, y, h, &l.w.Down)
}

// mlp is either kind of MLP.
type mlp interface {
	apply(ec *ExecutionContext, y, x device.Act) error
}

// mlpHalf adds a layer's MLP to the residual stream.
func (p *Parts) mlpHalf(ec *ExecutionContext, w *LayerWeights, m mlp) error {
	in := ec.x
	if p.Profile.PreNorm {
		p.Backend.Norm(ec.norm, ec.x, w.MLPNorm)
		in = ec.norm
	}
	if err := m.apply(ec, ec.out, in); err != nil {
		return err
	}
	p.addResidual(ec, w.MLPPostNorm)
	if !p.Profile.PreNorm {
		p.Backend.Norm(ec.x, ec.x, w.MLPNorm)
	}
	return nil
}

// addResidual adds ec.out, normalised and scaled where the model does, to the
// residual stream.
func (p *Parts) addResidual(ec *ExecutionContext, post *device.NormParams) {
	if post != nil {
		p.Backend.Norm(ec.out, ec.out, *post)
	}
	scale(ec.out, p.Profile.ResidualScale)
	p.Backend.Add(ec.x, ec.out)
}

// scale multiplies x by c, if that is set.
func scale(x device.Act, c float32) {
	if c == 0 || c == 1 {
		return
	}
	for t := range x.Rows {
		row := x.Row(t)
		for i := range row {
			row[i] *= c
		}
	}
}
