package cpu_test

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// After the first step, steps allocate nothing, not even while the context
// grows.
func TestNoAllocations(t *testing.T) {
	const tokens = 5
	r := newRandom(1)
	m := newMLP(tokens, 96, 2, 40, 50, tensor.F16, true)
	mat, _ := r.mat(70, 96, tensor.F16)
	y, h, sel := device.NewAct(tokens, 70), m.blank(), m.all()
	sk := device.SketchMat{Codes: make([]byte, 70*64), Scales: make([]float32, 70), RowBytes: 64, Rows: 70, Cols: 96}
	norm := device.NormParams{Kind: config.LayerNorm, Eps: 1e-5}
	for _, threads := range []int{1, 3} {
		b := cpu.NewFine(kernel.Best(), threads)
		defer b.Close()

		a := newAttention(t, 4, 2, 24, tensor.F32)
		out := device.NewAct(1, a.q.Cols)
		span := []device.Span{{Seq: a.spans[0].Seq, N: 1}}
		f16 := newAttention(t, 4, 2, 24, tensor.F16)
		chunk := device.NewAct(f16.q.Rows, f16.q.Cols)
		decode := func() {
			b.Attend(out, a.q.Top(1), a.cache, a.layer, span, a.p)
			span[0].Pos = (span[0].Pos + 1) % a.spans[0].N
		}
		for name, op := range map[string]func(){
			"Linear":           func() { b.Linear(y, m.x, mat, nil) },
			"Norm":             func() { b.Norm(m.x, m.x, norm) },
			"Add":              func() { b.Add(m.y, m.x) },
			"Attend":           decode,
			"Attend, a prompt": func() { b.Attend(chunk, f16.q, f16.cache, f16.layer, f16.spans, f16.p) },
			"Sketch":           func() { b.Sketch(y, m.x, sk) },
			"Up":               func() { b.Up(h, m.x, m.slots, m.work, sel) },
			"Down":             func() { b.Down(m.y, h, m.slots, m.work) },
		} {
			if n := testing.AllocsPerRun(kv.PageTokens, op); n != 0 {
				t.Errorf("%s with %d threads: got %v allocations a run, want 0", name, threads, n)
			}
		}
	}
}

// Nor do steps on quantised weights, whose activations are rounded into the
// backend's own memory.
func TestNoAllocationsQuantised(t *testing.T) {
	r := newRandom(2)
	for _, c := range []struct {
		tokens int
		dt     tensor.DType
	}{{1, tensor.Q8_0}, {5, tensor.Q8_0}, {1, tensor.Q4_0}, {5, tensor.Q4_0}} {
		tokens, dt := c.tokens, c.dt
		m := newMLP(tokens, 96, 2, 40, 50, dt, true)
		mat, _ := r.mat(70, 96, dt)
		y, h, sel := device.NewAct(tokens, 70), m.blank(), m.all()
		b := cpu.NewFine(kernel.Best(), 3)
		defer b.Close()
		for name, op := range map[string]func(){
			"Linear": func() { b.Linear(y, m.x, mat, nil) },
			"Up":     func() { b.Up(h, m.x, m.slots, m.work, sel) },
			"Down":   func() { b.Down(m.y, h, m.slots, m.work) },
		} {
			if n := testing.AllocsPerRun(16, op); n != 0 {
				t.Errorf("%s of %v, %d tokens: got %v allocations a run, want 0", name, dt, tokens, n)
			}
		}
	}
}
