package cpu_test

import (
	"fmt"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// After the first step, steps of one token and of many allocate nothing, and make
// no more scratch than TileBytes says.
func TestScratch(t *testing.T) {
	for _, dt := range dtypes {
		for _, tokens := range []int{1, 5, 50} {
			for i, threads := range []int{1, 3, 3} {
				parts := 2 + i/2
				t.Run(fmt.Sprintf("%v/parts=%d/tokens=%d/threads=%d", dt, parts, tokens, threads), func(t *testing.T) { testScratch(t, dt, parts, tokens, threads) })
			}
		}
	}
}

func testScratch(t *testing.T, dt tensor.DType, parts, tokens, threads int) {
	const cols, neurons = 256, 530
	b := cpu.NewFine(kernel.Best(), threads)
	defer b.Close()
	wanted := newMLP(tokens, cols, parts, neurons, neurons, dt, true)
	all := newMLP(tokens, cols, parts, neurons, neurons, dt, false)
	all.work.SkipZero = false
	mat := newRandom(3).mat(70, cols, dt)
	y, h, sel := device.NewAct(tokens, 70), wanted.blank(tokens), wanted.all()
	sketch := device.SketchMat{Codes: make([]byte, 70*128), Scales: make([]float32, 70), RowBytes: 128, Rows: 70, Cols: cols}
	for name, op := range map[string]func(){
		"Linear":       func() { b.Linear(y, wanted.x, mat, nil) },
		"Sketch":       func() { b.Sketch(y, wanted.x, sketch) },
		"Up, wanted":   func() { b.Up(h, wanted.x, wanted.slots, wanted.work, sel) },
		"Up, all":      func() { b.Up(h, all.x, all.slots, all.work, sel) },
		"Down, wanted": func() { b.Down(wanted.y, h, wanted.slots, wanted.work) },
		"Down, all":    func() { b.Down(all.y, h, all.slots, all.work) },
		"Norm":         func() { b.Norm(wanted.y, wanted.x, device.NormParams{Kind: config.LayerNorm}) },
		"Add":          func() { b.Add(wanted.y, wanted.x) },
	} {
		if n := testing.AllocsPerRun(5, op); n != 0 {
			t.Errorf("%s: got %v allocations a run, want 0", name, n)
		}
	}
	for i := range h {
		h[i] = 1 // all that there can be in a list
	}
	all.work.SkipZero = true
	b.Down(all.y, h, all.slots, all.work)
	most := cpu.TileBytes(threads, cols, tokens, neurons*tokens)
	if parts == 3 {
		most += cpu.GateBytes(neurons, neurons*tokens)
	}
	if got := b.Scratch(); got > most {
		t.Errorf("got %d bytes of scratch, want at most %d", got, most)
	}
}

// Attention allocates nothing either, not even while the context grows.
func TestAttendAllocatesNothing(t *testing.T) {
	for _, threads := range []int{1, 3} {
		b := cpu.NewFine(kernel.Best(), threads)
		defer b.Close()
		for _, dt := range []tensor.DType{tensor.F32, tensor.F16} {
			a := newAttention(4, 2, 24, dt)
			out, chunk := device.NewAct(1, a.q.Cols), device.NewAct(a.q.Rows, a.q.Cols)
			span := []device.Span{{Seq: a.spans[0].Seq, N: 1}}
			for name, op := range map[string]func(){
				"a token": func() {
					b.Attend(out, a.q.Top(1), a.cache, a.layer, span, a.p)
					span[0].Pos = (span[0].Pos + 1) % a.spans[0].N
				},
				"a prompt": func() { b.Attend(chunk, a.q, a.cache, a.layer, a.spans, a.p) },
			} {
				if n := testing.AllocsPerRun(kv.PageTokens, op); n != 0 {
					t.Errorf("%v, %s, %d threads: got %v allocations a run, want 0", dt, name, threads, n)
				}
			}
		}
	}
}
