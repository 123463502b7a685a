package cpu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// operation is one operation on operands of its own.
type operation struct {
	name   string
	tokens int
	// run computes the results of the n tokens from first on, a row each.
	run func(b device.Backend, first, n int) device.Act
	// bound is by how much a result may differ from what the oracle wants.
	bound func(token, col int, want float64) float64
	// same are other ways to the same results, bit for bit.
	same map[string]func(b device.Backend) device.Act
	// options are of the backends.
	options []cpu.Option
}

// TestConformance holds every operation, on all types and at sizes around those
// where loops end, to the oracle's results within what rounding explains; and to
// the same bits whatever the kernels, the threads and the tokens computed
// together. A short run has a third of them: all operations and types, not all shapes.
func TestConformance(t *testing.T) {
	ops := slices.Concat(linears(), norms(), sketches(), attentions(), mlps(), gates(), rotations(), experts(), combinations())
	for i, op := range ops {
		if testing.Short() && (i+i/4)%3 != 0 {
			continue
		}
		t.Run(op.name, func(t *testing.T) { conform(t, op) })
	}
}

func conform(t *testing.T, op operation) {
	want := op.run(ref.New(), 0, op.tokens)
	var first device.Act
	backends(t, func(t *testing.T, b device.Backend) {
		got := op.run(b, 0, op.tokens)
		for tok := range op.tokens {
			for j, g := range got.Row(tok) {
				w := float64(want.Row(tok)[j])
				if bound := op.bound(tok, j, w); !(math.Abs(float64(g)-w) <= bound) {
					t.Fatalf("token %d column %d: got %v, want %v, off by %.3g, bound %.3g", tok, j, g, w, math.Abs(float64(g)-w), bound)
				}
			}
		}
		checkMargins(t, got)
		if first.Data == nil {
			first = got
		}
		sameBits(t, "with other kernels or threads", got, first)
		single := device.NewAct(op.tokens, got.Cols)
		for tok := range op.tokens {
			copy(single.Row(tok), op.run(b, tok, 1).Row(0))
		}
		sameBits(t, "one token at a time", single, got)
		for name, run := range op.same {
			sameBits(t, name, run(b), got)
		}
	}, op.options...)
}

// rounding is the bound of sums of products with x, computed by run: what float32
// loses, and what rounding x to 8 bits in blocks of so many elements does; 0: it
// is not rounded.
func rounding(x device.Act, block int, run func(b device.Backend, x device.Act) device.Act) func(token, col int, want float64) float64 {
	zero, steps := device.NewAct(x.Rows, x.Cols), device.NewAct(x.Rows, x.Cols)
	for t := range x.Rows {
		for k := 0; block > 0 && k < x.Cols; k++ {
			first := k / block * block
			top := float32(0)
			for _, v := range x.Row(t)[first:min(first+block, x.Cols)] {
				top = max(top, float32(math.Abs(float64(v))))
			}
			steps.Row(t)[k] = top / 254 * 1.001 // half a step
		}
	}
	all, lost, bias := run(ref.Magnitudes(), x), run(ref.Magnitudes(), steps), run(ref.Magnitudes(), zero)
	return func(t, j int, want float64) float64 {
		return sumError(x.Cols)*float64(all.Row(t)[j]) + 1.001*float64(lost.Row(t)[j]-bias.Row(t)[j]) + 2*u*math.Abs(want)
	}
}

// blockOf is the elements that are rounded together for weights of type dt.
func blockOf(dt tensor.DType) int {
	if dt.Quantised() {
		return tensor.QuantBlock
	}
	return 0
}

func linears() (ops []operation) {
	for _, s := range []struct{ tokens, rows, cols int }{
		{1, 37, 60}, {5, 37, 60}, {130, 11, 60}, {3, 130, 768}, {1, 1, 1}, {4, 2, 15}, {7, 9, 1027}, {9, 37, 96}, {1, 9, 160},
		{6, 4, 64}, {12, 3, 130}, {17, 18, 48}, {11, 7, 256}, {37, 70, 640}, {1, 40, 512}, {37, 33, 1024},
	} {
		for i, dt := range matTypes() {
			if !fits(dt, s.cols) {
				continue
			}
			r := newRandom(uint64(s.tokens*s.rows + s.cols))
			w, x, bias := r.mat(s.rows, s.cols, dt), r.act(s.tokens, s.cols), r.floats(s.rows)
			if i%2 == 1 {
				bias = nil
			}
			product := func(b device.Backend, x device.Act) device.Act {
				y := emptyAct(x.Rows, s.rows)
				b.Linear(y, x, w, bias)
				return y
			}
			op := operation{
				name: fmt.Sprintf("Linear/%v/%v", s, dt), tokens: s.tokens,
				run:   func(b device.Backend, first, n int) device.Act { return product(b, x.Rowspan(first, n)) },
				bound: rounding(x, blockOf(dt), product),
			}
			ops = append(ops, op)
			if dt.Quantised() && s.cols%tensor.SuperBlock == 0 {
				op.name, op.bound, op.options = op.name+"/f32", rounding(x, 0, product), []cpu.Option{cpu.F32Activations}
				ops = append(ops, op)
			}
		}
	}
	return ops
}

func norms() (ops []operation) {
	for _, cols := range []int{1, 60, 768} {
		r := newRandom(uint64(cols))
		x := r.act(5, cols)
		for i, v := range x.Row(4) { // a mean far from zero, where float32 sums lose it
			x.Row(4)[i] = 1000 + v
		}
		for _, kind := range []config.NormKind{config.LayerNorm, config.RMSNorm} {
			for _, affine := range []bool{true, false} {
				p := device.NormParams{Kind: kind, Eps: 1e-5}
				if affine {
					p.Weight, p.Bias = r.floats(cols), r.floats(cols)
				}
				ops = append(ops, operation{
					name: fmt.Sprintf("Norm/%v/%d/affine=%v", kind, cols, affine), tokens: 5,
					run: func(b device.Backend, first, n int) device.Act {
						y := emptyAct(n, cols)
						b.Norm(y, x.Rowspan(first, n), p)
						return y
					},
					bound: func(_, _ int, want float64) float64 { return 4 * u * (8 + math.Abs(want)) },
					same: map[string]func(b device.Backend) device.Act{"in place": func(b device.Backend) device.Act {
						y := clone(x)
						b.Norm(y, y, p)
						return y
					}},
				})
			}
		}
	}
	r := newRandom(1)
	x, y := r.act(5, 60), r.act(5, 60)
	return append(ops, operation{
		name: "Clip", tokens: 5,
		run: func(b device.Backend, first, n int) device.Act {
			y := clone(x).Rowspan(first, n)
			b.Clip(y, 0.7)
			return y
		},
		bound: func(_, _ int, want float64) float64 { return 0 },
	}, operation{
		name: "Add", tokens: 5,
		run: func(b device.Backend, first, n int) device.Act {
			sum := clone(y).Rowspan(first, n)
			b.Add(sum, x.Rowspan(first, n))
			return sum
		},
		bound: func(_, _ int, want float64) float64 { return 0 }, // one addition is exact
	})
}

func sketches() (ops []operation) {
	for _, s := range []struct{ tokens, rows, cols, bits int }{
		{1, 37, 60, 0}, {5, 37, 60, 4}, {130, 7, 60, 0}, {3, 65, 768, 0}, {2, 3, 65, 0},
		{1, 37, 60, 3}, {5, 37, 300, 3}, {130, 7, 256, 3}, {6, 65, 768, 3},
	} {
		r := newRandom(uint64(s.tokens + s.cols))
		w := device.SketchMat{Bits: s.bits, RowBytes: (s.cols + 63) / 64 * 32, Rows: s.rows, Cols: s.cols, Scales: r.floats(s.rows), Bias: r.floats(s.rows)}
		if s.bits == 3 {
			w.RowBytes = kernel.Sketch3Bytes(s.cols)
		}
		if s.rows == 65 {
			w.Bias = nil
		}
		w.Codes = make([]byte, s.rows*w.RowBytes)
		for i := range w.Codes {
			w.Codes[i] = byte(r.Uint32()) // the padding too, which counts for nothing
		}
		x := r.act(s.tokens, s.cols)
		estimate := func(b device.Backend, x device.Act) device.Act {
			y := emptyAct(x.Rows, s.rows)
			b.Sketch(y, x, w)
			return y
		}
		ops = append(ops, operation{
			name: fmt.Sprintf("Sketch/%v", s), tokens: s.tokens,
			run:   func(b device.Backend, first, n int) device.Act { return estimate(b, x.Rowspan(first, n)) },
			bound: rounding(x, s.cols, estimate),
			same: map[string]func(b device.Backend) device.Act{"after a larger product": func(b device.Backend) device.Act {
				wide := device.SketchMat{Codes: make([]byte, 320), Scales: w.Scales[:1], RowBytes: 320, Rows: 1, Cols: 640}
				b.Sketch(emptyAct(140, 1), r.act(140, 640), wide)
				return estimate(b, x)
			}},
		})
	}
	return ops
}

func mlps() (ops []operation) {
	for i, s := range []struct{ tokens, cols, parts, neurons int }{
		{1, 60, 2, 41}, {5, 60, 2, 41}, {130, 60, 2, 9}, {3, 192, 3, 30}, {1, 769, 2, 5}, {2, 60, 2, 0}, {9, 96, 2, 41}, {1, 256, 2, 9},
		{6, 128, 2, 41}, {50, 160, 2, 13}, {8, 300, 3, 45}, {7, 128, 2, 530}, {70, 256, 2, 70}, {34, 160, 2, 30},
		{1, 256, 3, 41}, {1, 60, 3, 9}, {5, 60, 3, 41}, {9, 96, 3, 20}, {70, 256, 3, 70}, {50, 160, 3, 13}, {130, 60, 3, 9},
	} {
		for _, dt := range dtypes {
			for _, masked := range []bool{false, true} {
				if !fits(dt, s.cols) {
					continue
				}
				m := newMLP(s.tokens, s.cols, s.parts, s.neurons, max(50, s.neurons), dt, masked)
				if i%3 == 1 {
					m.work.Bias, m.work.SecondBias = nil, nil
				}
				name := fmt.Sprintf("%v/%v/masked=%v", s, dt, masked)
				ops = append(ops, upOf(m, name, 1), downOf(m, name))
				dense := *m
				dense.work.SkipZero = false
				ops = append(ops, downOf(&dense, name+"/zeros too"))
				if dt.Quantised() && s.parts == 2 {
					exact := upOf(m, name+"/f32", 1)
					exact.bound = rounding(m.x, 0, func(b device.Backend, x device.Act) device.Act { return m.products(b, x, 0) })
					exact.options = []cpu.Option{cpu.F32Activations}
					ops = append(ops, exact)
				}
			}
		}
	}
	for _, parts := range []int{2, 3} {
		for _, tokens := range []int{1, 3, 40} {
			for _, act := range []config.Activation{config.ReLU, config.FATReLU, config.DReLU, config.GELU, config.GELUTanh, config.QuickGELU, config.SiLU} {
				for _, skip := range []bool{false, true} {
					m := newMLP(tokens, 96, parts, 40, 50, tensor.F32, false)
					m.work.Act, m.work.Threshold, m.work.SkipZero = act, 0.7, skip
					ops = append(ops, upOf(m, fmt.Sprintf("%s/%d parts/tokens=%d/skip=%v", act, parts, tokens, skip), 1.2)) // none is steeper
				}
			}
		}
	}
	return ops
}

func gates() (ops []operation) {
	r := newRandom(8)
	x, up := r.act(5, 77), r.act(5, 77)
	x.Row(0)[3], up.Row(0)[4], up.Row(1)[5] = 9, 9, -9 // beyond where some clamp
	for _, act := range []config.Activation{config.ReLU, config.DReLU, config.GELU, config.GELUTanh, config.QuickGELU, config.SiLU, config.ClampedSwiGLU} {
		for _, alone := range []bool{true, false} {
			ops = append(ops, operation{
				name: fmt.Sprintf("Gate/%s/alone=%v", act, alone), tokens: 5,
				run: func(b device.Backend, first, n int) device.Act {
					h, second := clone(x).Rowspan(first, n), clone(up).Rowspan(first, n)
					if alone {
						second = device.Act{}
					}
					b.Gate(h, second, act)
					return h
				},
				bound: func(_, _ int, want float64) float64 { return 1e-6*math.Abs(want) + 1e-7 },
			})
		}
	}
	return ops
}

// upOf is Up on all neurons of m, whose activation function is at most so steep.
func upOf(m *mlp, name string, steep float64) operation {
	neurons := len(m.work.IDs)
	up := func(b device.Backend, x device.Act, w device.Work) device.Act {
		h := m.blank(x.Rows)
		b.Up(h, x, m.slots, w, m.all())
		return transposed(h, x.Rows, neurons)
	}
	sums := rounding(m.x, blockOf(m.slots.DType), func(b device.Backend, x device.Act) device.Act { return m.products(b, x, 0) })
	bound := func(t, j int, want float64) float64 { return steep * sums(t, j, want) }
	if m.slots.Parts == 3 {
		bound = gatedBound(m, steep)
	}
	return operation{
		name: "Up/" + name, tokens: m.tokens(),
		run:   func(b device.Backend, first, n int) device.Act { return up(b, m.x.Rowspan(first, n), m.of(first, n)) },
		bound: bound,
		same: map[string]func(b device.Backend) device.Act{"in two calls, in another order": func(b device.Backend) device.Act {
			order, h := m.all(), m.blank(m.tokens())
			newRandom(9).Shuffle(neurons, func(i, j int) { order[i], order[j] = order[j], order[i] })
			b.Up(h, m.x, m.slots, m.work, order[:neurons/3])
			again := m.work
			again.SameInput = true
			late := slices.Clone(h)
			b.Up(late, m.x, m.slots, again, order[neurons/3:])
			for _, i := range order[:neurons/3] { // nor does the second call set what it does not name
				copy(late[int(i)*m.tokens():][:m.tokens()], h[int(i)*m.tokens():])
			}
			return transposed(late, m.tokens(), neurons)
		}},
	}
}

// gatedBound is by how much the activations of neurons of three parts may differ:
// each factor's error times the other factor, and all where the gate is so near a
// threshold that it may be taken for either side.
func gatedBound(m *mlp, steep float64) func(t, j int, want float64) float64 {
	var products [2]device.Act
	var errs [2]func(t, j int, want float64) float64
	for part := range products {
		products[part] = m.products(ref.New(), m.x, part)
		errs[part] = rounding(m.x, blockOf(m.slots.DType), func(b device.Backend, x device.Act) device.Act { return m.products(b, x, part) })
	}
	return func(t, j int, want float64) float64 {
		g, v := math.Abs(float64(products[0].Row(t)[j])), math.Abs(float64(products[1].Row(t)[j]))
		eg, ev := steep*errs[0](t, j, g), errs[1](t, j, v)
		bound := g*ev + eg*v + eg*ev + 2*u*math.Abs(want)
		if m.work.Act == config.FATReLU && math.Abs(float64(products[0].Row(t)[j]-m.work.Threshold)) <= eg {
			bound += g * v
		}
		return bound
	}
}

// downOf is Down on the activations that the oracle finds.
func downOf(m *mlp, name string) operation {
	neurons, tokens := len(m.work.IDs), m.tokens()
	h := m.blank(tokens)
	ref.New().Up(h, m.x, m.slots, m.work, m.all())
	down := func(b device.Backend, first, n int) device.Act {
		y := clone(m.y).Rowspan(first, n)
		part := make([]float32, neurons*n)
		for i := range neurons {
			copy(part[i*n:(i+1)*n], h[i*tokens+first:])
		}
		b.Down(y, part, m.slots, m.of(first, n))
		return y
	}
	all := down(ref.Magnitudes(), 0, tokens)
	return operation{
		name: "Down/" + name, tokens: tokens, run: down,
		bound: func(t, j int, want float64) float64 {
			return float64(neurons+2)*u*float64(all.Row(t)[j]) + u*math.Abs(want)
		},
		same: map[string]func(b device.Backend) device.Act{"in segments": func(b device.Backend) device.Act {
			y := clone(m.y)
			for lo := 0; lo < neurons; { // as tiers or a stream's buffers hold them
				hi := min(neurons, lo+1+lo/2)
				w := m.work
				w.IDs, w.Slots = w.IDs[lo:hi], w.Slots[lo:hi]
				if w.Wants != nil {
					w.Wants = w.Wants[lo*w.WantWords : hi*w.WantWords]
				}
				b.Down(y, h[lo*tokens:hi*tokens], m.slots, w)
				lo = hi
			}
			return y
		}},
	}
}

func attentions() (ops []operation) {
	for _, s := range []struct{ heads, kvHeads, headDim int }{{3, 3, 15}, {2, 1, 80}, {6, 2, 32}, {9, 1, 16}} {
		for _, dt := range append(slices.Clip(floatTypes), tensor.Q8_0) {
			if fits(dt, s.headDim) {
				a := newAttention(s.heads, s.kvHeads, s.headDim, dt)
				ops = append(ops, attendOf(a, fmt.Sprintf("%v/%v", s, dt), 5e-5))
			}
		}
	}
	// Windows that begin within a page, at one's end, and before the text.
	for i, window := range []int{1, 9, 64, 70, 500} {
		for j, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
			a := newAttention(6, 2, 32, dt)
			a.p.Window, a.p.SoftCap = window, float32((i+j)%2)*1.5
			ops = append(ops, attendOf(a, fmt.Sprintf("window %d/cap %v/%v", window, a.p.SoftCap, dt), 5e-5))
		}
	}
	// Sinks, among the scores and far from them on either side.
	for i, dt := range []tensor.DType{tensor.F32, tensor.F16, tensor.Q8_0} {
		a := newAttention(6, 2, 32, dt)
		a.p.Sinks, a.p.Window, a.p.SoftCap = []float32{1, -0.5, 2, 60, -60, float32(math.Inf(-1))}, []int{0, 9, 70}[i], float32(i%2)*1.5
		ops = append(ops, attendOf(a, fmt.Sprintf("sinks/%v", dt), 5e-5))
	}
	// Scores far beyond what exp holds leave weights of 0 and 1, not NaN.
	large := newAttention(2, 2, 16, tensor.F32)
	large.p.Scale = 1e6
	return append(ops, attendOf(large, "large scores", 1e-3))
}

// attendOf bounds what rounding of scores and weights can do to a mean of normal
// numbers.
func attendOf(a *attention, name string, bound float64) operation {
	return operation{
		name: "Attend/" + name, tokens: a.q.Rows,
		run: func(b device.Backend, first, n int) device.Act {
			y := emptyAct(n, a.q.Cols)
			b.Attend(y, a.q.Rowspan(first, n), a.cache, a.layer, a.some(first, n), a.p)
			return y
		},
		bound: func(_, _ int, want float64) float64 { return bound },
		same: map[string]func(b device.Backend) device.Act{"after another": func(b device.Backend) device.Act {
			// What an operation leaves in the backend's memory, NaN even, is
			// nothing to the next.
			other := newAttention(2, 2, 80, tensor.F16)
			nan := slices.Repeat([]float32{float32(math.NaN())}, 2*80)
			for _, s := range other.spans {
				for pos := range s.Seq.Len() {
					other.cache.Put(other.layer, s.Seq, pos, nan, nan)
				}
			}
			b.Attend(emptyAct(other.q.Rows, other.q.Cols), other.q, other.cache, other.layer, other.spans, other.p)
			y := emptyAct(a.q.Rows, a.q.Cols)
			b.Attend(y, a.q, a.cache, a.layer, a.spans, a.p)
			return y
		}},
	}
}
