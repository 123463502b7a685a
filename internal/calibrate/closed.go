package calibrate

import (
	"context"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	// ridge is the share of the covariance's mean eigenvalue that is added to
	// each, so that directions which few tokens took do not vanish.
	ridge = 1e-2
	// leastRank is the lowest rank of factors: less saves nothing worth having.
	leastRank = 16
)

// ranks are the ranks of the factors that a layer of ffn neurons with inputs of
// length d may have, ascending: powers of two from least to most or, where all
// are below least, the highest. Factors are smaller than fc1 and take no more
// than maxBytes; 0: any.
func ranks(d, ffn, least, most int, maxBytes int64) (rs []int) {
	for rank := min(leastRank, d, ffn); rank <= min(d, ffn, most); rank *= 2 {
		if rank > leastRank && rank*(d+ffn) >= d*ffn || maxBytes > 0 && lowrank.FactorBytes(d, ffn, rank) > maxBytes {
			break
		}
		if rank <= least {
			rs = rs[:0]
		}
		rs = append(rs, rank)
	}
	return rs
}

// closedForm is the factors of each of the ranks that are best for the mean
// squared error of the pre-activations of fc1 w [ffn, d], for inputs of a mean
// and a covariance cov/tokens. bias is nil for none.
//
// It is reduced-rank regression (Izenman 1975): for centred inputs of
// covariance C the error is |(W-BA) C^(1/2)|^2, and U U^T W minimises it, where
// U is the first left singular vectors of W C^(1/2) (Eckart and Young 1936). The
// bias takes up the mean. Scores estimate pre-activations, shrunk towards their
// mean by what the rank leaves out.
func (f *fitter) closedForm(ctx context.Context, w, bias, mean, cov []float32, tokens int, ranks []int) ([]lowrank.Factors, error) {
	a := algebra{f.be, f.c.Threads}
	wt := make([]float32, len(w))
	a.transpose(wt, w, f.ffn, f.d)
	u, sizes, err := a.left(ctx, w, wt, withRidge(cov, f.d, tokens), f.ffn, f.d, ranks[len(ranks)-1], f.c.Seed+1)
	if err != nil {
		return nil, err
	}
	all := make([]lowrank.Factors, len(ranks))
	for i, rank := range ranks {
		r := lowrank.Factors{
			D: f.d, FFN: f.ffn, Rank: rank,
			A: make([]float32, rank*f.d), B: make([]float32, f.ffn*rank), Bias: make([]float32, f.ffn),
		}
		copy(r.Bias, bias)
		u := slices.Clone(u[:rank*f.ffn])
		a.mulT(r.A, u, wt, rank, f.d, f.ffn)
		balance(r.A, u, sizes[:rank])
		a.transpose(r.B, u, rank, f.ffn)
		a.centre(r, w, mean)
		all[i] = r
	}
	return all, nil
}

// withRidge is cov/tokens with the ridge on its diagonal.
func withRidge(cov []float32, d, tokens int) []float32 {
	cov = slices.Clone(cov)
	for i := range cov {
		cov[i] /= float32(tokens)
	}
	trace := 0.0
	for k := range d {
		trace += float64(cov[k*d+k])
	}
	for k := range d {
		cov[k*d+k] += float32(ridge * trace / float64(d))
	}
	return cov
}

// balance shares each direction's size evenly between a's row and u's, so that
// neither leaves float16's range: a's rows come with the singular value as
// their size, u's with 1.
func balance(a, u []float32, sizes []float64) {
	for k, size := range sizes {
		if size > 0 {
			scale(a[k*len(a)/len(sizes):][:len(a)/len(sizes)], 1/math.Sqrt(size))
			scale(u[k*len(u)/len(sizes):][:len(u)/len(sizes)], math.Sqrt(size))
		}
	}
}

func scale(v []float32, by float64) {
	for i := range v {
		v[i] *= float32(by)
	}
}

// centre moves into the bias what the factors leave out at the inputs' mean.
func (a algebra) centre(f lowrank.Factors, w, mean []float32) {
	exact, got, z := make([]float32, f.FFN), make([]float32, f.FFN), make([]float32, f.Rank)
	a.mulT(exact, mean, w, 1, f.FFN, f.D)
	a.mulT(z, mean, f.A, 1, f.Rank, f.D)
	a.mulT(got, z, f.B, 1, f.FFN, f.Rank)
	for i := range f.Bias {
		f.Bias[i] += exact[i] - got[i]
	}
}

// covariance is the mean [d] of the rows of x, and their covariance [d, d] times
// their number.
func covariance(be *cpu.Backend, x device.Act) (mean, cov []float32) {
	d := x.Cols
	mean = make([]float32, d)
	across := device.NewAct(d, x.Rows) // centred
	for k := range d {
		sum := 0.0
		for i := range x.Rows {
			sum += float64(x.Row(i)[k])
		}
		mean[k] = float32(sum / float64(max(1, x.Rows)))
		row := across.Row(k)
		for i := range row {
			row[i] = x.Row(i)[k] - mean[k]
		}
	}
	c := device.NewAct(d, d)
	be.Linear(c, across, device.Mat{Data: bytesOf(across.Data), DType: tensor.F32, Rows: d, Cols: x.Rows}, nil)
	return mean, c.Data
}
