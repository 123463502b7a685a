package cpu_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/ref"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

func TestNames(t *testing.T) {
	backends(t, func(t *testing.T, b device.Backend) {
		for _, k := range kernel.All() {
			if b.Name() == "cpu/"+k.Name {
				return
			}
		}
		t.Errorf("got name %q, want cpu/ and a kernel set", b.Name())
	})
	b := ref.New()
	defer b.Close()
	if b.Name() != "cpu/go" {
		t.Errorf("ref: got name %q, want cpu/go", b.Name())
	}
}

func TestLinear(t *testing.T) {
	type shape struct{ tokens, rows, cols int }
	for _, s := range []shape{{1, 37, 60}, {5, 37, 60}, {130, 11, 60}, {3, 130, 768}, {1, 1, 1}, {4, 2, 15}, {7, 9, 1027}, {9, 37, 96}, {1, 9, 160}, {6, 4, 64}, {12, 3, 130}, {17, 18, 48}, {11, 7, 256}, {37, 70, 640}} {
		for _, dt := range dtypes {
			if !fits(dt, s.cols) {
				continue
			}
			r := newRandom(uint64(s.tokens*s.rows + s.cols))
			w, wide := r.mat(s.rows, s.cols, dt)
			x, bias := r.act(s.tokens, s.cols), r.floats(s.rows)
			for _, bias := range [][]float32{bias, nil} {
				want := newExact(s.tokens, s.rows)
				for i := range s.tokens {
					for j := range s.rows {
						var sum, abs float64
						for k, v := range x.Row(i) {
							p := float64(v) * wide[j*s.cols+k]
							sum += p
							abs += math.Abs(p)
						}
						if bias != nil {
							sum += float64(bias[j])
							abs += math.Abs(float64(bias[j]))
						}
						lost := roundError(dt, x.Row(i), wide[j*s.cols:(j+1)*s.cols])
						want.set(i, j, sum, sumError(s.cols)*abs+u*math.Abs(sum)+lost)
					}
				}
				oracleY := emptyAct(s.tokens, s.rows)
				oracle(func(b device.Backend) { b.Linear(oracleY, x, w, bias) })
				t.Run(fmt.Sprintf("%v/%v/bias=%v", s, dt, bias != nil), func(t *testing.T) {
					backends(t, func(t *testing.T, b device.Backend) {
						y := emptyAct(s.tokens, s.rows)
						b.Linear(y, x, w, bias)
						check(t, y, want)
						sameBits(t, "against the oracle", y, oracleY)
						single := emptyAct(s.tokens, s.rows)
						for i := range s.tokens {
							b.Linear(single.Rowspan(i, 1), x.Rowspan(i, 1), w, bias)
						}
						sameBits(t, "one token at a time", single, y)
					})
				})
			}
		}
	}
}

func TestNorm(t *testing.T) {
	const eps = 1e-5
	for _, cols := range []int{1, 60, 768} {
		r := newRandom(uint64(cols))
		x := r.act(5, cols)
		for i, v := range x.Row(4) { // a mean far from zero, where float32 sums lose it
			x.Row(4)[i] = 1000 + v
		}
		for _, kind := range []config.NormKind{config.LayerNorm, config.RMSNorm} {
			for _, affine := range []bool{true, false} {
				p := device.NormParams{Kind: kind, Eps: eps}
				if affine {
					p.Weight, p.Bias = r.floats(cols), r.floats(cols)
				}
				want := newExact(5, cols)
				for i := range 5 {
					var mean, square float64
					for _, v := range x.Row(i) {
						if kind == config.LayerNorm {
							mean += float64(v) / float64(cols)
						}
					}
					for _, v := range x.Row(i) {
						square += (float64(v) - mean) * (float64(v) - mean) / float64(cols)
					}
					for j, v := range x.Row(i) {
						n := (float64(v) - mean) / math.Sqrt(square+float64(float32(eps)))
						bound := 2 * u * math.Abs(n)
						if affine {
							n *= float64(p.Weight[j])
							bound = 2*u*math.Abs(n) + u*math.Abs(n+float64(p.Bias[j]))
							n += float64(p.Bias[j])
						}
						want.set(i, j, n, bound+1e-9)
					}
				}
				backends(t, func(t *testing.T, b device.Backend) {
					y := emptyAct(5, cols)
					b.Norm(y, x, p)
					check(t, y, want)
					inPlace := clone(x)
					b.Norm(inPlace, inPlace, p)
					sameBits(t, "in place", inPlace, y)
				})
			}
		}
	}
}

func TestAdd(t *testing.T) {
	r := newRandom(1)
	x, y := r.act(5, 60), r.act(5, 60)
	want := newExact(5, 60)
	for i := range 5 {
		for j := range 60 {
			want.set(i, j, float64(y.Row(i)[j]+x.Row(i)[j]), 0)
		}
	}
	backends(t, func(t *testing.T, b device.Backend) {
		got := clone(y)
		b.Add(got, x)
		check(t, got, want)
	})
}

// The sketch's product is of integers: float64 finds the same but for the
// scales' rounding.
func TestSketch(t *testing.T) {
	quantize := kernel.Go().QuantizeS8
	for _, s := range []struct{ tokens, rows, cols int }{{1, 37, 60}, {5, 37, 60}, {130, 7, 60}, {3, 65, 768}, {2, 3, 65}} {
		r := newRandom(uint64(s.tokens + s.cols))
		w := device.SketchMat{RowBytes: (s.cols + 63) / 64 * 32, Rows: s.rows, Cols: s.cols, Scales: r.floats(s.rows), Bias: r.floats(s.rows)}
		w.Codes = make([]byte, s.rows*w.RowBytes)
		for i := range w.Codes {
			w.Codes[i] = byte(r.Uint32()) // the padding too, which counts for nothing
		}
		x := r.act(s.tokens, s.cols)
		for _, bias := range [][]float32{w.Bias, nil} {
			w.Bias = bias
			want := newExact(s.tokens, s.rows)
			q := make([]int8, s.cols)
			for i := range s.tokens {
				scale, _ := quantize(q, x.Row(i))
				for j := range s.rows {
					sum := 0
					for k, v := range q {
						nibble := w.Codes[j*w.RowBytes+k/64*32+k%32] >> (k % 64 / 32 * 4) & 15
						sum += (int(nibble) - 8) * int(v)
					}
					value := float64(sum) * float64(scale) * float64(w.Scales[j])
					bound := 3 * u * math.Abs(value)
					if bias != nil {
						value += float64(bias[j])
						bound += u * math.Abs(value)
					}
					want.set(i, j, value, 1.01*bound)
				}
			}
			oracleY := emptyAct(s.tokens, s.rows)
			oracle(func(b device.Backend) { b.Sketch(oracleY, x, w) })
			backends(t, func(t *testing.T, b device.Backend) {
				y := emptyAct(s.tokens, s.rows)
				// What an earlier, larger product left behind must not count.
				b.Sketch(emptyAct(140, 1), r.act(140, 2*w.RowBytes), device.SketchMat{Codes: w.Codes[:w.RowBytes], Scales: w.Scales[:1], RowBytes: w.RowBytes, Rows: 1, Cols: 2 * w.RowBytes})
				b.Sketch(y, x, w)
				check(t, y, want)
				sameBits(t, "against the oracle", y, oracleY)
				single := emptyAct(s.tokens, s.rows)
				for i := range s.tokens {
					b.Sketch(single.Rowspan(i, 1), x.Rowspan(i, 1), w)
				}
				sameBits(t, "one token at a time", single, y)
			})
		}
	}
}
