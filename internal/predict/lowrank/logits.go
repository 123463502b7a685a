package lowrank

import "math"

// toLogits scales and shifts the start's scores s to the log-odds c s + b of
// least loss on a batch of tokens (Platt 1999), by Newton's method on the two;
// the loss is convex in them. It changes no ranking, only that training need
// not spend its first epochs on it.
func (t *trainer) toLogits() {
	n, every := t.batch, t.data.Tokens()/t.batch
	x := make([]float32, n*t.f.D)
	for i := range n {
		copy(x[i*t.f.D:][:t.f.D], t.data.row(i*every))
	}
	s := make([]float32, n*t.f.FFN)
	t.f.scores(t.p, n, x, make([]float32, n*t.f.Rank), s)
	c, b := 1/math.Max(spread(s), 1e-30), 0.0
	for range 20 {
		var sum curve
		for i := range n {
			sum.add(t.loss, c, b, s[i*t.f.FFN:][:t.f.FFN], t.data, i*every)
		}
		dc, db := sum.step()
		// A step may halve c, no more, and so never flips the ranking.
		limit := math.Max(1, math.Max(math.Abs(dc)/(c/2), math.Abs(db)/2))
		c, b = c-dc/limit, b-db/limit
	}
	scale(t.f.A, math.Sqrt(c))
	scale(t.f.B, math.Sqrt(c))
	for i, v := range t.f.Bias {
		t.f.Bias[i] = float32(c*float64(v) + b)
	}
}

// curve is the first and second derivatives of the loss by c and b.
type curve struct{ c, b, cc, cb, bb float64 }

func (u *curve) add(l loss, c, b float64, scores []float32, data *Data, t int) {
	ids, values := data.active(t)
	for j, v := range scores {
		s := float64(v)
		p := 1 / (1 + math.Exp(-c*s-b))
		weight, target := l.negative, 0.0
		if len(ids) > 0 && int(ids[0]) == j {
			weight, target = float64(values[0])/l.mean, 1
			ids, values = ids[1:], values[1:]
		}
		g, h := weight*(p-target), weight*p*(1-p)
		u.c, u.b = u.c+g*s, u.b+g
		u.cc, u.cb, u.bb = u.cc+h*s*s, u.cb+h*s, u.bb+h
	}
}

// step is Newton's step, damped because far from the optimum the curvature
// vanishes.
func (u *curve) step() (c, b float64) {
	cc, bb := u.cc*1.01+1e-9, u.bb*1.01+1e-9
	det := cc*bb - u.cb*u.cb
	return (bb*u.c - u.cb*u.b) / det, (cc*u.b - u.cb*u.c) / det
}

// spread is the standard deviation of v.
func spread(v []float32) float64 {
	sum, squares := 0.0, 0.0
	for _, e := range v {
		sum += float64(e)
		squares += float64(e) * float64(e)
	}
	n := float64(len(v))
	return math.Sqrt(math.Max(0, squares/n-sum*sum/n/n))
}
