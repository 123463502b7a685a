package lowrank

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// ridge keeps directions that few tokens took from vanishing out of the
// inputs' covariance: this share of its mean eigenvalue is added to each.
const ridge = 1e-2

// Start is the closed-form predictor from fc1 [ffn, d] and its bias [ffn],
// nil for none, with no training.
//
// With data it is the best factors of that rank for the mean squared error of
// pre-activations over the data's inputs (reduced-rank regression, Izenman
// 1975): for centred inputs of covariance C the error is |(W-BA) C^(1/2)|^2,
// and U U^T W minimises it, where U is the first left singular vectors of
// W C^(1/2) (Eckart and Young 1936); the bias takes up the mean. Without data
// (nil) C is the identity: the truncated SVD of fc1. Scores estimate
// pre-activations, shrunk towards their mean by what the rank leaves out.
// When ctx ends, so does Start, with its error.
func Start(ctx context.Context, w, bias []float32, d, rank int, data *Data, o Options) (Factors, error) {
	if err := o.validate("start"); err != nil {
		return Factors{}, err
	}
	b, err := newBasis(ctx, w, bias, d, rank, data, o)
	if err != nil {
		return Factors{}, err
	}
	return b.factors(rank), nil
}

// basis is what the starts of one layer share, up to some rank.
type basis struct {
	p       pool
	d, ffn  int
	w, bias []float32 // as given
	mean    []float32 // [d] of the inputs, nil without data
	wt      []float32 // [d, ffn]
	u       []float32 // [rank, ffn] left singular vectors
	sizes   []float64 // [rank] singular values
}

func newBasis(ctx context.Context, w, bias []float32, d, rank int, data *Data, o Options) (*basis, error) {
	if d < 1 || len(w) == 0 || len(w)%d != 0 {
		return nil, fmt.Errorf("lowrank: start: got fc1 of %d elements, want rows of %d", len(w), d)
	}
	ffn := len(w) / d
	if bias != nil && len(bias) != ffn {
		return nil, fmt.Errorf("lowrank: start: got bias of %d elements, want %d", len(bias), ffn)
	}
	if rank < 1 || rank > min(d, ffn) {
		return nil, fmt.Errorf("lowrank: start: got rank %d, want 1 to %d for a %d x %d fc1", rank, min(d, ffn), ffn, d)
	}
	if i := notFinite(w); i >= 0 {
		return nil, fmt.Errorf("lowrank: start: fc1 row %d, column %d: got %v, want a finite number", i/d, i%d, w[i])
	}
	if i := notFinite(bias); i >= 0 {
		return nil, fmt.Errorf("lowrank: start: bias of neuron %d: got %v, want a finite number", i, bias[i])
	}
	p := newPool(o.Threads).withBackend()
	defer p.be.Close()
	b := &basis{p: newPool(o.Threads), d: d, ffn: ffn, w: w, bias: bias, wt: make([]float32, d*ffn)}
	var cov []float32
	if data != nil {
		if err := data.check("start", "given", d, ffn); err != nil {
			return nil, err
		}
		if b.mean, cov = p.covariance(ctx, data); cov == nil {
			return nil, ctx.Err()
		}
	}
	b.p.transpose(b.wt, w, ffn, d)
	b.u, b.sizes = p.left(ctx, w, b.wt, cov, ffn, d, rank, o.Seed)
	return b, ctx.Err()
}

// factors is the start of a rank up to the basis's.
func (b *basis) factors(rank int) Factors {
	f := Factors{
		D: b.d, FFN: b.ffn, Rank: rank,
		A: make([]float32, rank*b.d), B: make([]float32, b.ffn*rank), Bias: make([]float32, b.ffn),
	}
	copy(f.Bias, b.bias)
	u := slices.Clone(b.u[:rank*b.ffn])
	b.p.mulT(f.A, u, b.wt, rank, b.d, b.ffn)
	balance(f.A, u, b.sizes, rank)
	b.p.transpose(f.B, u, rank, b.ffn)
	if b.mean != nil {
		f.centre(b.p, b.w, b.mean)
	}
	return f
}

// balance shares each direction's size evenly between a's row and u's, so
// that training moves both at the same pace and neither leaves f16's range:
// a's rows come with the singular value as their size, u's with 1.
func balance(a, u []float32, sizes []float64, rank int) {
	for k := range rank {
		if sizes[k] <= 0 {
			continue
		}
		scale(a[k*len(a)/rank:][:len(a)/rank], 1/math.Sqrt(sizes[k]))
		scale(u[k*len(u)/rank:][:len(u)/rank], math.Sqrt(sizes[k]))
	}
}

func scale(v []float32, by float64) {
	for i := range v {
		v[i] *= float32(by)
	}
}

// centre moves into the bias what the factors leave out at the inputs' mean.
func (f *Factors) centre(p pool, w, mean []float32) {
	exact, got := make([]float32, f.FFN), make([]float32, f.FFN)
	p.mulT(exact, mean, w, 1, f.FFN, f.D)
	z := make([]float32, f.Rank)
	p.mulT(z, mean, f.A, 1, f.Rank, f.D)
	p.mulT(got, z, f.B, 1, f.FFN, f.Rank)
	for i := range f.Bias {
		f.Bias[i] += exact[i] - got[i]
	}
}

// covariance is the inputs' mean [d] and covariance [d, d], with a ridge; nil
// when ctx ends before.
func (p pool) covariance(ctx context.Context, data *Data) (mean, cov []float32) {
	const chunk = 4096 // tokens transposed at a time
	d, n := data.d, data.Tokens()
	sums := make([]float64, d)
	for t := range n {
		for k, v := range data.row(t) {
			sums[k] += float64(v)
		}
	}
	mean = make([]float32, d)
	for k, s := range sums {
		mean[k] = float32(s / float64(n))
	}
	cov = make([]float32, d*d)
	part, xt := make([]float32, d*d), make([]float32, d*min(n, chunk))
	x := make([]float32, len(xt))
	for from := 0; from < n; from += chunk {
		if ctx.Err() != nil {
			return nil, nil
		}
		m := min(chunk, n-from)
		for t := range m {
			for k, v := range data.row(from + t) {
				x[t*d+k] = v - mean[k]
			}
		}
		p.transpose(xt, x[:m*d], m, d)
		p.mulT(part, xt, xt, d, d, m)
		for i, v := range part {
			cov[i] += v / float32(n)
		}
	}
	trace := 0.0
	for k := range d {
		trace += float64(cov[k*d+k])
	}
	for k := range d {
		cov[k*d+k] += float32(ridge * trace / float64(d))
	}
	return mean, cov
}
