package synth

import "math"

// Levels of the histogram that thresholds are read from: 2^-12 deviations
// apart, which moves a share by less than 0.1 %.
const (
	levelsPerDeviation = 1 << 12
	levelRange         = 12 // deviations to either side
	levels             = 2 * levelRange * levelsPerDeviation
)

// fire sets the biases of neurons so that each is active as often as p says,
// if pre-activations are normal, and all together are exactly as active as p
// says on the calibration tokens; then it makes the pre-activations in
// m.hidden activations.
//
// The bias of neuron i is -mu - sigma (quantile(1-p) + margin), with the mean
// and deviation of its pre-activation, and one margin for the layer.
func (m *model) fire(bias []byte, p []float64) {
	mean, sigma := m.moments(m.hidden)
	threshold := make([]float64, len(p)) // deviations above the mean
	want := 0.0
	for i, v := range p {
		sigma[i] = math.Sqrt(sigma[i])
		threshold[i] = quantile(1 - v)
		want += v * float64(m.hidden.Rows)
	}
	margin := m.margin(mean, sigma, threshold, int64(math.Round(want)))
	b, zero := make([]float32, len(p)), m.profile.Threshold
	for i := range b {
		b[i] = zero + float32(-mean[i]-sigma[i]*(threshold[i]+margin))
	}
	m.round(bias, b)
	m.each(m.hidden.Rows, drawRows, func(from, to int) {
		for t := from; t < to; t++ {
			h := m.hidden.Row(t)
			for i, v := range h {
				if h[i] = v + b[i]; h[i] <= zero {
					h[i] = 0
				}
			}
		}
	})
}

// margin is how many deviations all thresholds rise for want activations: the
// place of the want-th largest in the histogram of how far pre-activations
// exceed their neuron's threshold.
func (m *model) margin(mean, sigma, threshold []float64, want int64) float64 {
	const rowsEach = 128
	parts := make([][]int32, (m.hidden.Rows+rowsEach-1)/rowsEach)
	m.each(m.hidden.Rows, rowsEach, func(from, to int) {
		count := make([]int32, levels)
		for t := from; t < to; t++ {
			for i, v := range m.hidden.Row(t) {
				over := (float64(v)-mean[i])/max(sigma[i], 1e-9) - threshold[i]
				count[min(max(int((over+levelRange)*levelsPerDeviation), 0), levels-1)]++
			}
		}
		parts[from/rowsEach] = count
	})
	for level := levels - 1; level > 0; level-- {
		for _, count := range parts {
			want -= int64(count[level])
		}
		if want <= 0 {
			return float64(level)/levelsPerDeviation - levelRange
		}
	}
	return -levelRange
}

// project sets m.add to the MLP's output without a bias, from activations and
// second halves as rows of down. Like the engine it leaves out what is zero.
func (m *model) project(down []byte) {
	d := m.profile.HiddenSize
	m.each(m.add.Rows, 1, func(t, _ int) {
		y := m.add.Row(t)
		clear(y)
		for i, h := range m.hidden.Row(t) {
			if h != 0 {
				m.space.set.F16.Axpy(y, h, down[2*i*d:2*(i+1)*d], nil)
			}
		}
	})
}
