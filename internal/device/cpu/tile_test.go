package cpu_test

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Steps of many tokens allocate nothing either after the first, and make no
// more scratch than TileBytes says.
func TestManyTokensScratch(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q8_0, tensor.Q4_0} {
		t.Run(dt.String(), func(t *testing.T) { testManyTokensScratch(t, dt) })
	}
}

func testManyTokensScratch(t *testing.T, dt tensor.DType) {
	const tokens, cols, neurons = 50, 256, 530
	r := newRandom(3)
	masked := newMLP(tokens, cols, 2, neurons, neurons, dt, true)
	all := newMLP(tokens, cols, 2, neurons, neurons, dt, false)
	all.work.SkipZero = false
	mat, _ := r.mat(70, cols, dt)
	y, h, sel := device.NewAct(tokens, 70), masked.blank(), masked.all()
	sk := device.SketchMat{Codes: make([]byte, 70*128), Scales: make([]float32, 70), RowBytes: 128, Rows: 70, Cols: cols}
	for _, threads := range []int{1, 3} {
		b := cpu.NewFine(kernel.Best(), threads)
		defer b.Close()
		for name, op := range map[string]func(){
			"Linear":        func() { b.Linear(y, masked.x, mat, nil) },
			"Sketch":        func() { b.Sketch(y, masked.x, sk) },
			"Up, wanted":    func() { b.Up(h, masked.x, masked.slots, masked.work, sel) },
			"Up, all":       func() { b.Up(h, all.x, all.slots, all.work, sel) },
			"Down, wanted":  func() { b.Down(masked.y, h, masked.slots, masked.work) },
			"Norm":          func() { b.Norm(masked.y, masked.x, device.NormParams{Kind: config.LayerNorm}) },
			"Add":           func() { b.Add(masked.y, masked.x) },
			"Down, of zero": func() { b.Down(all.y, h, all.slots, all.work) },
		} {
			if n := testing.AllocsPerRun(10, op); n != 0 {
				t.Errorf("%s with %d threads: got %v allocations a run, want 0", name, threads, n)
			}
		}
		for i := range h {
			h[i] = 1 // all that there can be in a list
		}
		all.work.SkipZero = true
		b.Down(all.y, h, all.slots, all.work)
		if got, most := b.Scratch(), cpu.TileBytes(threads, cols, tokens, neurons*tokens); got > most {
			t.Errorf("%d threads: got %d bytes of scratch, want at most %d", threads, got, most)
		}
	}
}
