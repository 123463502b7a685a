package calibrate

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/kernel"
)

// rounder rounds rows of weights to a few levels so that their products with
// inputs like those it was made from change least. To nearest is best only for
// inputs whose elements are independent; here what rounding one weight adds to
// the product is taken back by the weights of inputs that go with it. It is
// LDLQ (Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With
// Guarantees", 2023), the order of work and the damping are GPTQ's (Frantar et
// al. 2022), which is the same rounding by way of an inverse.
//
// With the inputs' covariance H = L D L', L lower with ones on its diagonal, a
// row's error e costs e'He = sum over k of D[k] (e[k] + sum of L[j,k] e[j] for
// j > k)^2. From the last weight to the first, each is rounded to where its own
// term is least. Means do not matter: what they add is a constant for each row,
// which the fit's offset has.
type rounder struct {
	k       kernel.Set
	d       int
	order   []int     // inputs by ascending variance, so that the loudest are rounded first
	feed    []float32 // [d, d]: row k is column k of L, from k+1 on
	weight  []float64 // [d]: D
	damping float64
}

// dampingShare of the mean variance is added to every input's: with few tokens
// covariance is in part chance.
const dampingShare = 0.01

// newRounder is made from the inputs' covariance [d, d], times any
// number, which it overwrites.
func newRounder(ctx context.Context, cov []float32, d int) (*rounder, error) {
	r := &rounder{k: kernel.Best(), d: d, feed: cov, order: make([]int, d)}
	sum := 0.0
	for i := range d {
		r.order[i] = i
		sum += float64(cov[i*d+i])
	}
	if r.damping = dampingShare * sum / float64(d); !(r.damping > 0) {
		r.damping = 1 // inputs that never vary: nothing to take back
	}
	slices.SortStableFunc(r.order, func(a, b int) int { return cmp.Compare(cov[a*d+a], cov[b*d+b]) })
	return r, r.decompose(ctx)
}

// decompose puts L and D in the place of the covariance, by Cholesky's method.
func (r *rounder) decompose(ctx context.Context) error {
	d := r.d
	r.weight = make([]float64, d)
	c := make([]float64, d*d)
	for i, a := range r.order {
		for j, b := range r.order[:i+1] {
			c[i*d+j] = float64(r.feed[a*d+b])
		}
		c[i*d+i] += r.damping
	}
	for i := range d {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := c[i*d : i*d+i+1]
		for j := range row {
			s := row[j]
			for k, v := range c[j*d : j*d+j] {
				s -= v * row[k]
			}
			if j < i {
				row[j] = s / c[j*d+j]
			} else {
				row[j] = math.Sqrt(max(s, 1e-3*r.damping)) // rounding may take it below
			}
		}
	}
	for k := range d {
		root := c[k*d+k]
		r.weight[k] = root * root
		for j := k + 1; j < d; j++ {
			r.feed[k*d+j] = float32(c[j*d+k] / root)
		}
	}
	return nil
}

// steps are the distances of levels that are tried, as shares of the best for a
// normal distribution: taking errors back makes weights larger, and clipping a
// few costs little where their inputs are quiet.
var steps = [...]float64{0.75, 0.85, 0.95, 1.05, 1.2}

const (
	// normalStep is the best distance of eight equal levels for a normal
	// distribution of deviation 1 (J. Max, "Quantizing for minimum distortion",
	// 1960, table II).
	normalStep = 0.586
	// middle is the code, between two, that stands for 0.
	middle = (1<<codeBits - 1) / 2.0
)

// round sets codes [rows, d] for weights w [rows, d]; a code u stands for
// u-middle, times a step of the row's own.
func (r *rounder) round(codes []byte, w []float32) {
	d := r.d
	rows := len(w) / d
	t := try{r: r, w: make([]float32, len(w)), err: make([]float32, len(w)), codes: make([]byte, len(w)),
		step: make([]float64, rows), loss: make([]float64, rows)}
	rms, least := make([]float64, rows), make([]float64, rows)
	for i := range rows {
		sum := 0.0
		for k, a := range r.order {
			v := w[i*d+a]
			t.w[i*d+k] = v
			sum += float64(v) * float64(v)
		}
		rms[i], least[i] = math.Sqrt(sum/float64(d)), math.Inf(1)
	}
	for _, share := range steps {
		for i := range rows {
			t.step[i] = max(share*normalStep*rms[i], math.SmallestNonzeroFloat32)
		}
		t.run()
		for i, loss := range t.loss {
			if loss < least[i] {
				least[i] = loss
				for k, a := range r.order {
					codes[i*d+a] = t.codes[i*d+k]
				}
			}
		}
	}
}

// try is one rounding of some rows, whose weights are in the rounder's order.
type try struct {
	r      *rounder
	w, err []float32 // [rows, d]: weights, and by how much they are above their codes
	codes  []byte    // [rows, d]
	step   []float64 // [rows]
	loss   []float64 // [rows]
}

// run goes through the weights one column after the other, so that the column
// of L stays near while all rows pass by.
func (t *try) run() {
	d := t.r.d
	clear(t.loss)
	for k := d - 1; k >= 0; k-- {
		feed := t.r.feed[k*d+k+1 : (k+1)*d]
		for i, step := range t.step {
			at := i*d + k
			want := float64(t.w[at]) + float64(t.r.k.DotF32(feed, t.err[at+1:(i+1)*d], nil))
			u := min(max(0, math.Floor(want/step+middle+0.5)), 2*middle)
			got := (u - middle) * step
			t.codes[at], t.err[at] = byte(u), float32(float64(t.w[at])-got)
			t.loss[i] += t.r.weight[k] * (want - got) * (want - got)
		}
	}
}
