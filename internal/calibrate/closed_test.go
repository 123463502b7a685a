package calibrate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// near reports whether got is within share of want.
func near(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }

func rms(v []float32) float64 {
	sum := 0.0
	for _, e := range v {
		sum += float64(e) * float64(e)
	}
	return math.Sqrt(sum / float64(len(v)))
}

// testBackend is closed when the test ends.
func testBackend(t testing.TB) *cpu.Backend {
	t.Helper()
	be := cpu.New(kernel.Best(), 2)
	t.Cleanup(be.Close)
	return be
}

// drawnLayer is a fitter, and fc1 [ffn, d] of a rank and some noise, with its
// bias.
func drawnLayer(t testing.TB, d, ffn, rank int) (f *fitter, w, bias []float32) {
	f = &fitter{c: &calibrator{Options: Options{Threads: 2}}, be: testBackend(t), d: d, ffn: ffn}
	r := rand.New(rand.NewPCG(1, 7))
	u, v := normal(r, ffn*rank), normal(r, rank*d)
	w, bias = normal(r, ffn*d), normal(r, ffn)
	for i := range w {
		w[i] *= 0.3
		for k := range rank {
			w[i] += u[i/d*rank+k] * v[k*d+i%d] / float32(math.Sqrt(float64(rank)))
		}
	}
	return f, w, bias
}

// preActivations are w x + bias.
func (f *fitter) preActivations(x device.Act, w, bias []float32) []float32 {
	pre := make([]float32, x.Rows*f.ffn)
	algebra{f.be, 1}.mulT(pre, x.Data, w, x.Rows, f.ffn, x.Cols)
	for i := range pre {
		pre[i] += bias[i%f.ffn]
	}
	return pre
}

// rmsError is the root mean square of scores less pre-activations.
func (f *fitter) rmsError(r lowrank.Factors, x device.Act, pre []float32) float64 {
	z := device.NewAct(x.Rows, r.Rank)
	algebra{f.be, 1}.mulT(z.Data, x.Data, r.A, x.Rows, r.Rank, r.D)
	s := f.preActivations(z, r.B, r.Bias)
	for i := range s {
		s[i] -= pre[i]
	}
	return rms(s)
}

func identity(n int) []float32 {
	v := make([]float32, n*n)
	for i := range n {
		v[i*n+i] = 1
	}
	return v
}

func mustClosedForm(t *testing.T, f *fitter, w, bias, mean, cov []float32, tokens, rank int) lowrank.Factors {
	t.Helper()
	all, err := f.closedForm(t.Context(), w, bias, mean, cov, tokens, []int{1, rank})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Rank != 1 {
		t.Fatalf("got %d factors, the first of rank %d, want 2, of rank 1", len(all), all[0].Rank)
	}
	return all[1]
}

// At full rank factors are fc1 with its bias, with and without a covariance.
func TestClosedFormFullRank(t *testing.T) {
	f, w, bias := drawnLayer(t, 24, 60, 5)
	x := device.Act{Data: normal(rand.New(rand.NewPCG(1, 3)), 100*24), Rows: 100, Cols: 24, Stride: 24}
	pre := f.preActivations(x, w, bias)
	mean, cov := covariance(f.be, x)
	for name, got := range map[string]lowrank.Factors{
		"covariance": mustClosedForm(t, f, w, bias, mean, cov, 100, 24),
		"identity":   mustClosedForm(t, f, w, bias, make([]float32, 24), identity(24), 1, 24),
	} {
		if e := f.rmsError(got, x, pre); e > 1e-4*rms(pre) {
			t.Errorf("%s: got error %v, want rounding alone", name, e)
		}
	}
}

// For inputs of falling spectrum and a mean, the error is the one that the
// singular values left out allow, below that of fc1's own singular vectors with
// the mean taken up, and no factors near it are better.
func TestClosedFormIsOptimal(t *testing.T) {
	const d, ffn, rank, n = 40, 100, 8, 4000
	f, w, bias := drawnLayer(t, d, ffn, 20)
	x := device.Act{Data: normal(rand.New(rand.NewPCG(1, 3)), n*d), Rows: n, Cols: d, Stride: d}
	for i := range x.Data {
		x.Data[i] = x.Data[i]*float32(math.Pow(0.85, float64(i%d))) + 0.5
	}
	pre := f.preActivations(x, w, bias)
	mean, cov := covariance(f.be, x)
	wt := make([]float32, len(w))
	a := algebra{f.be, 2}
	a.transpose(wt, w, ffn, d)
	_, sizes, err := a.left(t.Context(), w, wt, withRidge(cov, d, n), ffn, d, d, 1)
	if err != nil {
		t.Fatal(err)
	}
	left := 0.0
	for _, s := range sizes[rank:] {
		left += s * s
	}
	best := mustClosedForm(t, f, w, bias, mean, cov, n, rank)
	got, want := f.rmsError(best, x, pre), math.Sqrt(left/float64(ffn))
	if !near(got, want, 0.15) { // the ridge is in the singular values
		t.Errorf("got error %v, want %v", got, want)
	}
	if plain := f.rmsError(mustClosedForm(t, f, w, bias, mean, identity(d), 1, rank), x, pre); got > 0.8*plain {
		t.Errorf("got error %v, want at most 0.8 of the plain decomposition's %v", got, plain)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		moved := best
		for _, v := range []*[]float32{&moved.A, &moved.B, &moved.Bias} {
			*v = slices.Clone(*v)
			step := 0.02 * rms(*v)
			for i := range *v {
				(*v)[i] += float32(step * r.NormFloat64())
			}
		}
		if other := f.rmsError(moved, x, pre); other < got {
			t.Errorf("got error %v, and %v for factors moved at random", got, other)
		}
	}
}

// Factors do not depend on threads.
func TestClosedFormThreads(t *testing.T) {
	f, w, bias := drawnLayer(t, 40, 100, 6)
	x := device.Act{Data: normal(rand.New(rand.NewPCG(1, 3)), 100*40), Rows: 100, Cols: 40, Stride: 40}
	mean, cov := covariance(f.be, x)
	want := mustClosedForm(t, f, w, bias, mean, cov, 100, 16)
	f.c.Threads, f.be = 5, cpu.New(kernel.Best(), 5)
	defer f.be.Close()
	if got := mustClosedForm(t, f, w, bias, mean, cov, 100, 16); !slices.Equal(got.A, want.A) || !slices.Equal(got.B, want.B) || !slices.Equal(got.Bias, want.Bias) {
		t.Error("got other factors from five threads than from two")
	}
}

// The decomposition of a large layer takes long: who stops it does not wait for
// its end.
func TestClosedFormIsStopped(t *testing.T) {
	f, w, bias := drawnLayer(t, 16, 32, 4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.closedForm(ctx, w, bias, make([]float32, 16), identity(16), 1, []int{4}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestRanks(t *testing.T) {
	for _, c := range []struct {
		d, ffn, least, most int
		bytes               int64
		want                []int
	}{
		{256, 1024, 16, 9999, 0, []int{16, 32, 64, 128}}, // 256 is no smaller than fc1
		{4096, 16384, 64, 128, 0, []int{64, 128}},
		{4096, 16384, 64, 128, lowrank.FactorBytes(4096, 16384, 96), []int{64}},
		{4096, 16384, 64, 128, lowrank.FactorBytes(4096, 16384, 32), []int{32}},
		{4096, 16384, 512, 512, 0, []int{512}},
		{96, 384, 64, 128, 0, []int{64}},
		{64, 256, 64, 128, 0, []int{32}},
		{8, 100, 64, 128, 0, []int{8}},
		{100, 4, 64, 128, 0, []int{4}},
	} {
		if got := ranks(c.d, c.ffn, c.least, c.most, c.bytes); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
