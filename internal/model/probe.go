package model

import "github.com/sparseflow/sparseflow/internal/device"

// Probe computes one layer's MLP for x [tokens, d], as a step of decoding or of
// a prompt would, and throws the result away: for timing. The statistics count
// it.
func (m *Model) Probe(ec *ExecutionContext, layer int, x device.Act, decode bool) error {
	ec.begin(m.Profile, x.Rows)
	ec.Decode = decode
	return m.layers[layer].mlp.neurons(ec, ec.out, x)
}
