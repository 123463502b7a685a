package lowrank

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// rmsError is the root mean square of scores less pre-activations.
func rmsError(f Factors, x, pre []float32) float64 {
	p, n := newPool(0), len(x)/f.D
	s := make([]float32, len(pre))
	f.scores(p, n, x, make([]float32, n*f.Rank), s)
	for i := range s {
		s[i] -= pre[i]
	}
	return rms(s)
}

// At full rank the start is fc1 with its bias, with and without data.
func TestStartFullRank(t *testing.T) {
	l := newLayer(24, 60, 5)
	x, pre := l.sample(100, 1)
	for _, data := range []*Data{nil, l.data(t, 100, 2)} {
		if got := rmsError(mustStart(t, l, 24, data, quick()), x, pre); got > 1e-4*rms(pre) {
			t.Errorf("data %v: got error %v, want rounding alone", data != nil, got)
		}
	}
}

// For inputs of falling spectrum and a mean, the start's error is the one that
// the singular values left out allow, below that of fc1's own SVD with the
// mean taken up, and no factors near it are better.
func TestStartIsOptimal(t *testing.T) {
	const d, rank, n = 40, 8, 4000
	l := newLayer(d, 100, 20)
	x, pre := l.sample(n, 1)
	for i := range x {
		x[i] = x[i]*float32(math.Pow(0.85, float64(i%d))) + 0.5
	}
	p := newPool(0)
	p.mulT(pre, x, l.w, n, l.ffn, d)
	for i := range pre {
		pre[i] += l.bias[i%l.ffn]
	}
	data, _ := NewData(d, l.ffn)
	if err := data.Add(x, pre); err != nil {
		t.Fatal(err)
	}
	whole, err := newBasis(t.Context(), l.w, l.bias, d, d, data, quick())
	if err != nil {
		t.Fatal(err)
	}
	left := 0.0
	for _, s := range whole.sizes[rank:] {
		left += s * s
	}
	best := mustStart(t, l, rank, data, quick())
	got, want := rmsError(best, x, pre), math.Sqrt(left/float64(l.ffn))
	unweighted := mustStart(t, l, rank, nil, quick())
	unweighted.centre(p, l.w, whole.mean)
	plain := rmsError(unweighted, x, pre)
	t.Logf("error %.4f (by singular values %.4f), %.4f without the covariance, of %.4f", got, want, plain, rms(pre))
	if !near(got, want, 0.15) { // the ridge is in the singular values
		t.Errorf("got error %v, want %v", got, want)
	}
	if got > 0.8*plain {
		t.Errorf("got error %v, want at most 0.8 of the plain SVD's %v", got, plain)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		moved := best.Clone()
		for _, v := range [][]float32{moved.A, moved.B, moved.Bias} {
			step := 0.02 * rms(v)
			for i := range v {
				v[i] += float32(step * r.NormFloat64())
			}
		}
		if other := rmsError(moved, x, pre); other < got {
			t.Errorf("got error %v, and %v for factors moved at random", got, other)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	l := newLayer(8, 16, 2)
	bad := append([]float32(nil), l.w...)
	bad[3*8+5] = float32(math.Inf(1))
	for _, c := range []struct {
		w, bias []float32
		d, rank int
		data    *Data
		want    string
	}{
		{l.w, l.bias, 8, 0, nil, "got rank 0, want 1 to 8 for a 16 x 8 fc1"},
		{l.w, l.bias, 8, 9, nil, "got rank 9"},
		{l.w, l.bias, 0, 1, nil, "got fc1 of 128 elements, want rows of 0"},
		{nil, nil, 8, 1, nil, "got fc1 of 0 elements"},
		{l.w[1:], l.bias, 8, 1, nil, "got fc1 of 127 elements, want rows of 8"},
		{l.w, l.bias[1:], 8, 1, nil, "got bias of 15 elements, want 16"},
		{bad, l.bias, 8, 1, nil, "fc1 row 3, column 5: got +Inf"},
		{l.w, bad[:16], 8, 1, newLayer(8, 20, 2).data(t, 100, 1), "given data: got d 8, ffn 20, want 8, 16"},
		{l.w, l.bias, 8, 1, l.data(t, 5, 1), "got 5 tokens, want at least 64"},
	} {
		_, err := Start(t.Context(), c.w, c.bias, c.d, c.rank, c.data, quick())
		if err == nil || !strings.HasPrefix(err.Error(), "lowrank: start: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
	}
	o := quick()
	o.Multiple = 0
	if _, err := Start(t.Context(), l.w, l.bias, 8, 1, nil, o); err == nil {
		t.Error("bad options: got no error")
	}
}

// The decomposition of a large layer takes most of a minute: who stops it does
// not wait for its end.
func TestStartIsStopped(t *testing.T) {
	l := newLayer(16, 32, 4)
	data := l.data(t, 100, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, l.w, l.bias, l.d, 4, data, quick()); !errors.Is(err, context.Canceled) {
		t.Errorf("with data: got %v, want %v", err, context.Canceled)
	}
	if _, err := Start(ctx, l.w, l.bias, l.d, 4, nil, quick()); !errors.Is(err, context.Canceled) {
		t.Errorf("without: got %v, want %v", err, context.Canceled)
	}
}
