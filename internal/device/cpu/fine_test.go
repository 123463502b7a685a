package cpu_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Products with fine weights are a hundredth as far from the exact ones, and the
// same bits whatever the instruction set and however many tokens come together.
func TestFine(t *testing.T) {
	const rows, cols, tokens = 41, 768, 11
	r := rand.New(rand.NewPCG(1, 2))
	weights := make([]float32, rows*cols)
	for i := range weights {
		weights[i] = float32(r.NormFloat64())
	}
	x := device.NewAct(tokens, cols)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	clear(x.Data[32:64]) // a block of zeros
	for _, dt := range []tensor.DType{tensor.Q8_0, tensor.Q6_K, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0} {
		w := device.Mat{Data: make([]byte, rows*dt.RowBytes(cols)), DType: dt, Rows: rows, Cols: cols}
		tensor.Encode(w.Data, weights, dt)
		product := func(k kernel.Set, x device.Act, w device.Mat, o ...cpu.Option) device.Act {
			b := cpu.New(k, 2, o...)
			defer b.Close()
			y := device.NewAct(x.Rows, rows)
			b.Linear(y, x, w, nil)
			return y
		}
		exact, coarse := product(kernel.Go(), x, w, cpu.F32Activations), product(kernel.Go(), x, w)
		w.Fine = true
		fine := product(kernel.Go(), x, w)
		if got, was := distance(fine, exact), distance(coarse, exact); !(got < was/100) {
			t.Errorf("%v: got %g from the exact products, %g rounded once; want a hundredth", dt, got, was)
		}
		for _, k := range kernel.All() {
			if got := product(k, x, w); !slices.Equal(got.Data, fine.Data) {
				t.Errorf("%v: %s gives other bits than plain Go", dt, k.Name)
			}
			for i := range tokens {
				if got := product(k, x.Rowspan(i, 1), w); !slices.Equal(got.Data, fine.Row(i)) {
					t.Errorf("%v: %s: token %d alone gives other bits", dt, k.Name, i)
				}
			}
		}
	}
}

// distance is the root of the sum of squared differences.
func distance(a, b device.Act) float64 {
	var sum float64
	for i, v := range a.Data {
		sum += math.Pow(float64(v)-float64(b.Data[i]), 2)
	}
	return math.Sqrt(sum)
}
