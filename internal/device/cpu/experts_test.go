package cpu_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// mixture is a layer of experts and tokens with the experts of each, ascending.
type mixture struct {
	parts  [3]device.ExpertPart
	data   [][3][]byte // [experts]
	bias   [3][]float32
	act    config.Activation
	x      device.Act
	chosen [][]int32 // [tokens, k]
}

// newMixture draws tokens that each want k of so many experts, the first most often.
// down is the type of the third part.
func newMixture(tokens, k, experts, d, width int, dt, down tensor.DType) *mixture {
	r := newRandom(uint64(tokens*d+width) + uint64(dt))
	m := &mixture{x: r.act(tokens, d), act: config.SiLU}
	m.parts = [3]device.ExpertPart{{DType: dt, Rows: width, Cols: d}, {DType: dt, Rows: width, Cols: d}, {DType: down, Rows: d, Cols: width}}
	for range experts {
		var data [3][]byte
		for i, p := range m.parts {
			data[i] = r.weights(p.Rows*p.Cols, p.DType)
		}
		m.data = append(m.data, data)
	}
	for range tokens {
		ids := map[int32]bool{}
		for len(ids) < k {
			ids[int32(r.IntN(1+r.IntN(experts)))] = true
		}
		m.chosen = append(m.chosen, slices.Sorted(maps.Keys(ids)))
	}
	return m
}

// work is that of n tokens from first on, and the row of each pair by token.
func (m *mixture) work(first, n int) (w *device.ExpertWork, rows []int32) {
	w, rows = &device.ExpertWork{Parts: m.parts, Bias: m.bias, Act: m.act, First: []int32{0}}, make([]int32, n*len(m.chosen[0]))
	for id, data := range m.data {
		for t, ids := range m.chosen[first : first+n] {
			if j := slices.Index(ids, int32(id)); j >= 0 {
				rows[t*len(ids)+j] = int32(len(w.Tokens))
				w.Tokens = append(w.Tokens, int32(t))
			}
		}
		if last := w.First[len(w.First)-1]; int(last) < len(w.Tokens) {
			w.IDs, w.Data, w.First = append(w.IDs, int32(id)), append(w.Data, data), append(w.First, int32(len(w.Tokens)))
		}
	}
	return w, rows
}

// all names every expert of a work.
func all(w *device.ExpertWork) (sel []int32) {
	for i := range w.IDs {
		sel = append(sel, int32(i))
	}
	return sel
}

// part is a part of expert id times x.
func (m *mixture) part(b device.Backend, x device.Act, id, part int, biased bool) device.Act {
	p, bias := m.parts[part], []float32(nil)
	if biased && m.bias[part] != nil {
		bias = m.bias[part][id*p.Rows:][:p.Rows]
	}
	y := device.NewAct(x.Rows, p.Rows)
	b.Linear(y, x, device.Mat{Data: m.data[id][part], DType: p.DType, Rows: p.Rows, Cols: p.Cols}, bias)
	return y
}

// outputs is y, which has a row for each pair, with a row for each token.
func outputs(y device.Act, rows []int32, n int) device.Act {
	checked := device.NewAct(n, len(rows)/n*y.Cols)
	for i, row := range rows {
		copy(checked.Row(i * n / len(rows))[i%(len(rows)/n)*y.Cols:], y.Row(int(row)))
	}
	return checked
}

// bounds is by how much outputs may differ from the oracle's, [tokens, k*d]: what
// errors of the activations become, and those of the last sums.
func (m *mixture) bounds(rounded bool) device.Act {
	tokens, k, d := m.x.Rows, len(m.chosen[0]), m.x.Cols
	rounds := func(dt tensor.DType) int {
		if rounded {
			return blockOf(dt)
		}
		return 0
	}
	bounds := device.NewAct(tokens, k*d)
	for id := range m.data {
		var products [2]device.Act
		var errs [2]func(t, j int, want float64) float64
		for i := range products {
			products[i] = m.part(ref.New(), m.x, id, i, true)
			errs[i] = rounding(m.x, rounds(m.parts[i].DType), func(b device.Backend, x device.Act) device.Act { return m.part(b, x, id, i, true) })
		}
		h, lost := device.NewAct(tokens, m.parts[0].Rows), device.NewAct(tokens, m.parts[0].Rows)
		for t := range tokens {
			copy(h.Row(t), products[0].Row(t))
			for j, g := range h.Row(t) {
				v := math.Abs(float64(products[1].Row(t)[j])) + 1
				eg, ev := 1.2*errs[0](t, j, float64(g)), errs[1](t, j, v) // no function is steeper
				lost.Row(t)[j] = float32(math.Abs(float64(g))*(ev+4*u*v) + eg*v + eg*ev)
			}
		}
		ref.New().Gate(h, products[1], m.act)
		third := func(b device.Backend, x device.Act) device.Act { return m.part(b, x, id, 2, true) }
		sums, carried := rounding(h, rounds(m.parts[2].DType), third), m.part(ref.Magnitudes(), lost, id, 2, false)
		for t, ids := range m.chosen {
			if at := slices.Index(ids, int32(id)); at >= 0 {
				for j := range d {
					bounds.Row(t)[at*d+j] = float32(1.1*(sums(t, j, 0)+float64(carried.Row(t)[j])) + 1e-6)
				}
			}
		}
	}
	return bounds
}

// operation is Experts on all of m.
func (m *mixture) operation(name string, options ...cpu.Option) operation {
	tokens, k, d := m.x.Rows, len(m.chosen[0]), m.x.Cols
	bounds := sync.OnceValue(func() device.Act { return m.bounds(options == nil) })
	run := func(b device.Backend, first, n int) device.Act {
		w, rows := m.work(first, n)
		y := device.NewAct(w.Pairs(), d)
		b.Experts(y, m.x.Rowspan(first, n), w, all(w))
		return outputs(y, rows, n)
	}
	return operation{
		name: "Experts/" + name, tokens: tokens, run: run, options: options,
		bound: func(t, j int, want float64) float64 { return float64(bounds().Row(t)[j]) + 2*u*math.Abs(want) },
		same: map[string]func(b device.Backend) device.Act{
			"in two calls, in another order": func(b device.Backend) device.Act {
				w, rows := m.work(0, tokens)
				y, sel := emptyAct(w.Pairs(), d), all(w)
				newRandom(9).Shuffle(len(sel), func(i, j int) { sel[i], sel[j] = sel[j], sel[i] })
				first := slices.Clone(w.Data)
				for _, i := range sel[len(sel)/3:] {
					w.Data[i] = [3][]byte{} // not there yet
				}
				b.Experts(y, m.x, w, sel[:len(sel)/3])
				copy(w.Data, first)
				w.SameInput = true
				b.Experts(y, m.x, w, sel[len(sel)/3:])
				for i, v := range y.Data {
					if i%y.Stride >= y.Cols && v != unset {
						panic("wrote beside the rows")
					}
				}
				return outputs(y, rows, tokens)
			},
			"as matrices": func(b device.Backend) device.Act {
				y := device.NewAct(tokens, k*d)
				for id := range m.data {
					h, up := m.part(b, m.x, id, 0, true), m.part(b, m.x, id, 1, true)
					b.Gate(h, up, m.act)
					out := m.part(b, h, id, 2, true)
					for t, ids := range m.chosen {
						if at := slices.Index(ids, int32(id)); at >= 0 {
							copy(y.Row(t)[at*d:], out.Row(t))
						}
					}
				}
				return y
			},
		},
	}
}

func experts() (ops []operation) {
	for i, s := range []struct{ tokens, k, experts, d, width int }{
		{1, 4, 9, 64, 96}, {5, 2, 3, 60, 35}, {3, 2, 3, 256, 256}, {1, 2, 3, 768, 256}, {14, 2, 3, 256, 96}, {300, 2, 3, 32, 64},
	} {
		for j, dt := range matTypes() {
			down := matTypes()[(j+i)%len(matTypes())]
			if !fits(down, s.width) {
				down = dt
			}
			if !fits(dt, s.d) || !fits(down, s.width) || s.tokens > 100 && j%4 > 0 {
				continue
			}
			m := newMixture(s.tokens, s.k, s.experts, s.d, s.width, dt, down)
			if (i+j)%2 == 1 {
				r := newRandom(uint64(i))
				for part, p := range m.parts {
					m.bias[part] = r.floats(s.experts * p.Rows)
				}
				m.act = []config.Activation{config.ClampedSwiGLU, config.ReLU, config.GELUTanh}[j%3]
			}
			name := fmt.Sprintf("%v/%v/%v", s, dt, down)
			ops = append(ops, m.operation(name))
			if dt.Quantised() && s.d == 256 {
				ops = append(ops, m.operation(name+"/f32", cpu.F32Activations))
			}
		}
	}
	return ops
}

func combinations() (ops []operation) {
	for _, s := range []struct{ tokens, k, cols int }{{1, 8, 60}, {5, 2, 300}, {70, 1, 1}} {
		r := newRandom(uint64(s.tokens))
		pairs := s.tokens*s.k + 3
		y, out, weights := r.act(s.tokens, s.cols), r.act(pairs, s.cols), r.floats(s.tokens*s.k)
		var rows []int32
		for _, row := range r.Perm(pairs)[:s.tokens*s.k] {
			rows = append(rows, int32(row-row%4/3*(row+1))) // some are -1
		}
		combine := func(b device.Backend, first, n int) device.Act {
			sum := clone(y).Rowspan(first, n)
			b.Combine(sum, out, rows[first*s.k:(first+n)*s.k], weights[first*s.k:(first+n)*s.k], s.k)
			return sum
		}
		all := combine(ref.Magnitudes(), 0, s.tokens)
		ops = append(ops, operation{
			name: fmt.Sprintf("Combine/%v", s), tokens: s.tokens, run: combine,
			bound: func(t, j int, want float64) float64 { return float64(s.k+1) * u * float64(all.Row(t)[j]) },
			same: map[string]func(b device.Backend) device.Act{"in ascending order": func(device.Backend) device.Act {
				sum := clone(y)
				for i, row := range rows {
					if row < 0 {
						continue
					}
					for j, v := range out.Row(int(row)) {
						at := &sum.Row(i / s.k)[j]
						*at = float32(math.FMA(float64(weights[i]), float64(v), float64(*at)))
					}
				}
				return sum
			}},
		})
	}
	return ops
}

// After the first step experts allocate nothing, and have no more memory than
// ExpertBytes says.
func TestExpertScratch(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F16, tensor.Q4_K, tensor.MXFP4} {
		for _, tokens := range []int{1, 40, 300} {
			m := newMixture(tokens, 3, 7, 512, 256, dt, dt)
			b := cpu.NewFine(kernel.Best(), 2)
			w, rows := m.work(0, tokens)
			y, sum, weights, sel := device.NewAct(w.Pairs(), 512), device.NewAct(tokens, 512), make([]float32, len(rows)), all(w)
			before := b.ExpertScratch()
			if n := testing.AllocsPerRun(5, func() {
				b.Experts(y, m.x, w, sel)
				b.Combine(sum, y, rows, weights, 3)
			}); n != 0 {
				t.Errorf("%v, %d tokens: got %v allocations a run, want 0", dt, tokens, n)
			}
			if got, most := b.ExpertScratch()-before, cpu.ExpertBytes(m.parts, tokens, 3); got == 0 || got > most {
				t.Errorf("%v, %d tokens: got %d bytes of scratch, want at most %d, and some", dt, tokens, got, most)
			}
			b.Close()
		}
	}
}
