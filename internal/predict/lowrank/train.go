package lowrank

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// Report is what a training did.
type Report struct {
	Start, Trained Quality // on held-out data; Trained is of what is returned
	Steps, Epochs  int     // done
	Best           int     // the epoch whose factors are returned; 0: the start
}

// Train improves start on train, measures on held after each epoch, and
// returns the factors with the highest held-out weighted recall at o.Multiple
// times the active share: the start's own where no epoch beat them.
//
// The loss of one token is
//
//	sum over active neurons i of a_i/m softplus(-s_i)
//	+ o.Negative * sum over silent i of softplus(s_i)
//
// for scores s, activations a and m, the mean activation of active neurons in
// train: binary cross-entropy weighted by |activation|. Its minimum ranks
// neurons by E[max(a, 0)] / P(silent), what computing a neuron is expected to
// be worth. AdamW (Loshchilov and Hutter 2019) descends on it with a rate
// that rises over the first steps and falls along a cosine.
//
// Scores come out as log-odds, shifted so that on train as many are above
// zero as neurons are active. A and B hold float16 values, so that Encode
// keeps what was measured. The same start, data and options but Threads give
// the same bits. progress, if not nil, is told the mean training loss per
// active neuron since the last call, and the held-out weighted recall, after
// each epoch. When ctx ends, Train returns the best so far with ctx.Err().
func Train(ctx context.Context, start Factors, train, held *Data, o Options, progress func(step int, loss, recall float64)) (Factors, Report, error) {
	if err := o.validate("train"); err != nil {
		return Factors{}, Report{}, err
	}
	if err := start.check("train"); err != nil {
		return Factors{}, Report{}, err
	}
	for _, part := range [][]float32{start.A, start.B, start.Bias} {
		if i := notFinite(part); i >= 0 {
			return Factors{}, Report{}, fmt.Errorf("lowrank: train: start: element %d: got %v, want finite factors", i, part[i])
		}
	}
	if err := train.check("train", "training", start.D, start.FFN); err != nil {
		return Factors{}, Report{}, err
	}
	if err := held.check("train", "held-out", start.D, start.FFN); err != nil {
		return Factors{}, Report{}, err
	}
	t := newTrainer(start, train, o)
	best := t.finished()
	report := Report{Start: t.meter.measure(start, held, o.Multiple)}
	report.Trained = t.meter.measure(best, held, o.Multiple)
	for epoch := 1; epoch <= o.Epochs && epoch-report.Best <= o.Patience; epoch++ {
		loss, err := t.epoch(ctx)
		report.Steps = t.opt.step
		if err != nil {
			return best, report, err
		}
		report.Epochs = epoch
		now := t.finished()
		q := t.meter.measure(now, held, o.Multiple)
		if q.RecallWeighted > report.Trained.RecallWeighted {
			best, report.Trained, report.Best = now, q, epoch
		}
		if progress != nil {
			progress(t.opt.step, loss, q.RecallWeighted)
		}
	}
	return best, report, nil
}

// trainer is a training under way.
type trainer struct {
	o     Options
	p     pool
	f     Factors // being trained
	data  *Data
	rng   *rand.Rand
	order []int // tokens, shuffled for each epoch
	batch int
	loss  loss
	meter *meter
	grad  gradients
	opt   *adamW
}

func newTrainer(start Factors, data *Data, o Options) *trainer {
	o.Batch = min(o.Batch, data.Tokens())
	t := &trainer{
		o: o, p: newPool(o.Threads), f: start.Clone(), data: data, batch: o.Batch,
		rng:  rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)),
		loss: loss{mean: data.meanValue(), negative: o.Negative},
	}
	t.meter = newMeter(start, o, t.loss.mean)
	for i := range data.Tokens() {
		t.order = append(t.order, i)
	}
	t.toLogits()
	t.grad = newGradients(t.f, t.batch)
	steps := o.Epochs * (len(t.order) / t.batch)
	t.opt = newAdamW(o, steps, t.f)
	return t
}

// epoch takes every token once, but for those that fill no batch, and returns
// the mean loss per active neuron.
func (t *trainer) epoch(ctx context.Context) (float64, error) {
	t.rng.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	sum, active := 0.0, 0
	for at := 0; at+t.batch <= len(t.order); at += t.batch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		tokens := t.order[at : at+t.batch]
		loss := t.step(tokens)
		if !(loss < math.Inf(1)) {
			return 0, fmt.Errorf("lowrank: train: loss at step %d: got %v, want a finite number: lower LearningRate", t.opt.step, loss)
		}
		sum += loss
		for _, i := range tokens {
			ids, _ := t.data.active(i)
			active += len(ids)
		}
	}
	return sum / float64(max(active, 1)), nil
}

// finished is a copy of the factors under training as they would be returned.
func (t *trainer) finished() Factors {
	const enough = 4096 // tokens that settle the share of positive scores
	f := t.f.Clone()
	f.round()
	bar := t.meter.shift(f, t.data, min(t.data.Tokens(), enough))
	for i := range f.Bias {
		f.Bias[i] -= bar
	}
	return f
}
