package lowrank

import "math"

// gradients are the loss's derivatives by the factors, and the memory that
// finding them for one batch takes.
type gradients struct {
	a, b, bias []float32 // as in Factors

	x, xt   []float32 // [batch, d], [d, batch]
	z, zt   []float32 // [batch, rank], [rank, batch]
	s, st   []float32 // [batch, ffn], [ffn, batch]: scores, then derivatives
	dz, dzt []float32 // [batch, rank], [rank, batch]
	bt      []float32 // [rank, ffn]
	losses  []float64 // [batch]
}

func newGradients(f Factors, batch int) gradients {
	of := func(rows, cols int) []float32 { return make([]float32, rows*cols) }
	return gradients{
		a: of(f.Rank, f.D), b: of(f.FFN, f.Rank), bias: of(f.FFN, 1),
		x: of(batch, f.D), xt: of(f.D, batch), z: of(batch, f.Rank), zt: of(f.Rank, batch),
		s: of(batch, f.FFN), st: of(f.FFN, batch), dz: of(batch, f.Rank), dzt: of(f.Rank, batch),
		bt: of(f.Rank, f.FFN), losses: make([]float64, batch),
	}
}

// step moves the factors by one batch and returns the batch's loss.
func (t *trainer) step(tokens []int) float64 {
	g, f, p, n := &t.grad, t.f, t.p, len(tokens)
	for i, token := range tokens {
		copy(g.x[i*f.D:], t.data.row(token))
	}
	f.scores(p, n, g.x, g.z, g.s)
	p.spans(n, 8, func(i, to int) {
		for ; i < to; i++ {
			g.losses[i] = t.loss.descend(g.s[i*f.FFN:][:f.FFN], t.data, tokens[i])
		}
	})

	p.transpose(g.bt, f.B, f.FFN, f.Rank)
	p.mulT(g.dz, g.s, g.bt, n, f.Rank, f.FFN) // dz = ds B

	p.transpose(g.st, g.s, n, f.FFN)
	p.transpose(g.zt, g.z, n, f.Rank)
	p.mulT(g.b, g.st, g.zt, f.FFN, f.Rank, n) // dB = ds^T z
	p.spans(f.FFN, 64, func(j, to int) {
		for ; j < to; j++ {
			sum := float32(0)
			for _, v := range g.st[j*n:][:n] {
				sum += v
			}
			g.bias[j] = sum
		}
	})

	p.transpose(g.dzt, g.dz, n, f.Rank)
	p.transpose(g.xt, g.x, n, f.D)
	p.mulT(g.a, g.dzt, g.xt, f.Rank, f.D, n) // dA = dz^T x

	t.opt.update(p, f, g)
	loss := 0.0
	for _, v := range g.losses {
		loss += v
	}
	return loss
}

// adamW is the optimiser of Loshchilov and Hutter, "Decoupled weight decay
// regularization" (2019), algorithm 2, with the rate's schedule.
type adamW struct {
	o          Options
	step, last int // steps done and planned
	a, b, bias moments
}

// moments are one parameter's running means of gradients and their squares.
type moments struct {
	m, v []float32
	rate float64 // a step's size at the schedule's height
}

func newAdamW(o Options, steps int, f Factors) *adamW {
	of := func(v []float32, rate float64) moments {
		return moments{m: make([]float32, len(v)), v: make([]float32, len(v)), rate: rate}
	}
	return &adamW{
		o: o, last: steps,
		a: of(f.A, o.LearningRate*rms(f.A)), b: of(f.B, o.LearningRate*rms(f.B)),
		// Scores are log-odds: their unit is 1 whatever the layer.
		bias: of(f.Bias, o.LearningRate),
	}
}

func (w *adamW) update(p pool, f Factors, g *gradients) {
	w.step++
	pace := w.pace()
	w.a.update(p, f.A, g.a, w.step, pace, pace*w.o.LearningRate*w.o.WeightDecay)
	w.b.update(p, f.B, g.b, w.step, pace, pace*w.o.LearningRate*w.o.WeightDecay)
	w.bias.update(p, f.Bias, g.bias, w.step, pace, 0)
}

// pace is the schedule, from 0 to 1: linear over the first twentieth, then a
// half cosine down to a hundredth.
func (w *adamW) pace() float64 {
	warm := max(1, w.last/20)
	if w.step < warm {
		return float64(w.step) / float64(warm)
	}
	done := float64(w.step-warm) / float64(max(1, w.last-warm))
	return 0.01 + 0.99*(1+math.Cos(math.Pi*math.Min(done, 1)))/2
}

func (m moments) update(p pool, param, grad []float32, step int, pace, decay float64) {
	const beta1, beta2, eps = 0.9, 0.999, 1e-8
	fix1 := 1 / (1 - math.Pow(beta1, float64(step)))
	fix2 := 1 / (1 - math.Pow(beta2, float64(step)))
	rate, keep := float32(m.rate*pace*fix1), float32(1-decay)
	p.spans(len(param), 1<<14, func(i, to int) {
		for ; i < to; i++ {
			g := grad[i]
			m.m[i] += (1 - beta1) * (g - m.m[i])
			m.v[i] += (1 - beta2) * (g*g - m.v[i])
			param[i] = param[i]*keep - rate*m.m[i]/(float32(math.Sqrt(float64(m.v[i])*fix2))+eps)
		}
	})
}

func rms(v []float32) float64 {
	sum := 0.0
	for _, e := range v {
		sum += float64(e) * float64(e)
	}
	return math.Sqrt(sum / float64(len(v)))
}
