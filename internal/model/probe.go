package model

import "github.com/sparseflow/sparseflow/internal/device"

// Probe computes one layer's MLP for x [tokens, d], as a step of decoding
// would, and throws the result away: for timing. The statistics count it.
func (m *Model) Probe(ec *ExecutionContext, layer int, x device.Act) error {
	ec.begin(x.Rows)
	ec.Decode = true
	return m.layers[layer].mlp.neurons(ec, ec.out, x)
}
