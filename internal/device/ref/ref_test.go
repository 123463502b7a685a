package ref_test

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The oracle is the plain-Go kernels; package cpu's tests compare it with
// arithmetic in float64.
func TestNew(t *testing.T) {
	b := ref.New()
	defer b.Close()
	if b.Name() != "cpu/go" {
		t.Errorf("got %q, want cpu/go", b.Name())
	}
	w := device.Mat{Data: make([]byte, 8), DType: tensor.F32, Rows: 1, Cols: 2}
	tensor.Encode(w.Data, []float32{2, 3}, tensor.F32)
	x, y := device.NewAct(1, 2), device.NewAct(1, 1)
	copy(x.Data, []float32{5, 7})
	b.Linear(y, x, w, []float32{-1})
	if y.Data[0] != 30 {
		t.Errorf("2*5 + 3*7 - 1: got %v, want 30", y.Data[0])
	}
}
