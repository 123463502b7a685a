package calibrate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// correlated is inputs [tokens, d] that lie near rank directions, away from 0.
func correlated(r *rand.Rand, tokens, d, rank int) device.Act {
	mix := make([]float64, rank*d)
	for i := range mix {
		mix[i] = r.NormFloat64()
	}
	x := device.NewAct(tokens, d)
	for t := range tokens {
		row := x.Row(t)
		for k := range row {
			row[k] = float32(3 + 0.2*r.NormFloat64())
		}
		for j := range rank {
			v := r.NormFloat64()
			for k := range row {
				row[k] += float32(v * mix[j*d+k])
			}
		}
	}
	return x
}

// L D L' is the inputs' covariance, damped.
func TestDecompose(t *testing.T) {
	const tokens, d = 90, 24
	x := correlated(rand.New(rand.NewPCG(1, 1)), tokens, d, 3)
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	r := mustRound(t, be, x)
	mean := make([]float64, d)
	for i := range tokens {
		for k, v := range x.Row(i) {
			mean[k] += float64(v) / tokens
		}
	}
	l := func(i, k int) float64 {
		if i == k {
			return 1
		}
		return float64(r.feed[k*d+i])
	}
	for i, a := range r.order {
		for j, b := range r.order[:i+1] {
			want, got := 0.0, 0.0
			for n := range tokens {
				want += (float64(x.Row(n)[a]) - mean[a]) * (float64(x.Row(n)[b]) - mean[b])
			}
			if i == j {
				want += r.damping
			}
			for k := range j + 1 {
				got += l(i, k) * r.weight[k] * l(j, k)
			}
			if math.Abs(got-want) > 1e-3*tokens*rankScale {
				t.Fatalf("element %d, %d: got %v, want %v", i, j, got, want)
			}
		}
	}
}

// rankScale is about the variance of an element of correlated's inputs.
const rankScale = 3

// Rounded for its inputs a row's products are nearer to the true ones than
// rounded to the nearest level, by far where the inputs go together; and the
// codes are those that the width has.
func TestRound(t *testing.T) {
	const tokens, d, rows = 300, 70, 9
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	rng := rand.New(rand.NewPCG(3, 1))
	w := make([]float32, rows*d)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	for _, c := range []struct {
		rank int
		most float64 // of the error of rounding to nearest, by deviation
	}{{4, 0.5}, {1000, 1.05}} { // so many directions that none stands out
		x := correlated(rng, tokens, d, c.rank)
		r := mustRound(t, be, x)
		codes, near := make([]byte, rows*d), make([]byte, rows*d)
		r.round(codes, w)
		for i, v := range w {
			near[i] = byte(min(max(0, math.Floor(float64(v)/normalStep+middle+0.5)), 2*middle))
			if codes[i] >= 8 {
				t.Fatalf("got code %d of 3 bits", codes[i])
			}
		}
		if got, want := misfit(x, w, codes), misfit(x, w, near); got > c.most*want {
			t.Errorf("rank %d: got an error of %v, want at most %v of rounding to nearest, %v", c.rank, got, c.most, want)
		}
	}
}

// misfit is the deviation of rows' products with x from the best lines through
// those of their codes, which is what a calibration fits, summed over the rows.
func misfit(x device.Act, w []float32, codes []byte) (sum float64) {
	d := x.Cols
	for first := 0; first < len(w); first += d {
		var n, sa, sb, saa, sab, sbb float64
		for i := range x.Rows {
			a, b := 0.0, 0.0
			for k, v := range x.Row(i) {
				a += float64(v) * (float64(codes[first+k]) - middle)
				b += float64(v) * float64(w[first+k])
			}
			n, sa, sb, saa, sab, sbb = n+1, sa+a, sb+b, saa+a*a, sab+a*b, sbb+b*b
		}
		va, vb, cov := saa-sa*sa/n, sbb-sb*sb/n, sab-sa*sb/n
		sum += math.Sqrt(max(0, vb-cov*cov/va) / n)
	}
	return sum
}

// Inputs that never vary, and damaged ones, give codes and no panic.
func TestRoundHostile(t *testing.T) {
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	nan := float32(math.NaN())
	for name, fill := range map[string]float32{"constant": 2, "zero": 0, "not numbers": nan} {
		x := device.NewAct(5, 8)
		for i := range x.Data {
			x.Data[i] = fill
		}
		r := mustRound(t, be, x)
		for _, w := range [][]float32{make([]float32, 8), {1, -1, nan, 0.5, 3, -3, float32(math.Inf(1)), 0}} {
			codes := make([]byte, 8)
			r.round(codes, w)
			for _, c := range codes {
				if c > 7 {
					t.Errorf("%s: got code %d of 3 bits", name, c)
				}
			}
		}
	}
}

// Codes of a block do not depend on the threads that round it.
func TestRoundBlock(t *testing.T) {
	const d, ffn = 40, 21
	be := cpu.New(kernel.Best(), 1)
	defer be.Close()
	rng := rand.New(rand.NewPCG(5, 1))
	r := mustRound(t, be, correlated(rng, 100, d, 5))
	w := make([]float32, ffn*d)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	round := func(threads int) predict.Codes {
		f := &fitter{c: &calibrator{Options: Options{Threads: threads}}, d: d, ffn: ffn}
		c := predict.Codes{Bits: codeBits, Rows: make([]byte, ffn*kernel.Sketch3Bytes(d))}
		f.roundBlock(r, c, 0, w[:9*d])
		f.roundBlock(r, c, 9, w[9*d:])
		return c
	}
	want := round(1)
	if got := round(3); !reflect.DeepEqual(got, want) {
		t.Error("got other codes from three threads than from one")
	}
	codes := make([]byte, ffn*d)
	r.round(codes, w)
	row := make([]byte, kernel.Sketch3Bytes(d))
	for i := range ffn {
		kernel.PackSketch3(row, codes[i*d:(i+1)*d])
		if got := want.Rows[i*len(row) : (i+1)*len(row)]; !slices.Equal(got, row) {
			t.Errorf("row %d: got codes of another", i)
		}
	}
}

func mustRound(t testing.TB, be *cpu.Backend, x device.Act) *rounder {
	t.Helper()
	_, cov := covariance(be, x)
	r, err := newRounder(t.Context(), cov, x.Cols)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Who stops a calibration does not wait for a large layer to be done.
func TestRounderIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newRounder(ctx, make([]float32, 16*16), 16); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
