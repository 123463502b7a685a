package ref_test

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// What a reader can compute by hand.
func TestByHand(t *testing.T) {
	b := ref.New()
	defer b.Close()
	act := func(v ...float32) device.Act { return device.Act{Data: v, Rows: 1, Cols: len(v), Stride: len(v)} }
	weights := func(v ...float32) []byte {
		raw := make([]byte, 4*len(v))
		tensor.Encode(raw, v, tensor.F32)
		return raw
	}
	y := act(0)
	b.Linear(y, act(5, 7), device.Mat{Data: weights(2, 3), Rows: 1, Cols: 2}, []float32{-1})
	if y.Data[0] != 30 {
		t.Errorf("2*5 + 3*7 - 1: got %v, want 30", y.Data[0])
	}
	n := act(0, 0)
	b.Norm(n, act(1, 5), device.NormParams{Kind: config.LayerNorm, Weight: []float32{2, 2}, Bias: []float32{1, 1}})
	if n.Data[0] != -1 || n.Data[1] != 3 {
		t.Errorf("norm of 1 and 5, times 2 plus 1: got %v, want -1 and 3", n.Data)
	}
	s := device.Slots{Data: weights(1, 2, 10, 20), Stride: 16, Cols: 2, Parts: 2}
	w := device.Work{IDs: []int32{0}, Slots: []int32{0}, Act: config.ReLU, SkipZero: true}
	h, out := []float32{9}, act(1, 1)
	b.Up(h, act(3, 4), s, w, []int32{0})
	b.Down(out, h, s, w)
	if h[0] != 11 || out.Data[0] != 111 || out.Data[1] != 221 {
		t.Errorf("1*3 + 2*4, then 1 + 11*10 and 1 + 11*20: got %v and %v", h, out.Data)
	}
	b = ref.Magnitudes()
	b.Linear(y, act(5, -7), device.Mat{Data: weights(2, 3), Rows: 1, Cols: 2}, []float32{-1})
	if y.Data[0] != 32 {
		t.Errorf("magnitudes of 2*5, 3*-7 and -1: got %v, want 32", y.Data[0])
	}
}

// A function handed over runs once, by the next operation.
func TestOverlap(t *testing.T) {
	b, runs := ref.New(), 0
	b.Overlap(func() { runs++ })
	for range 2 {
		b.Add(device.NewAct(1, 1), device.NewAct(1, 1))
	}
	if runs != 1 {
		t.Errorf("ran %d times, want once", runs)
	}
}
