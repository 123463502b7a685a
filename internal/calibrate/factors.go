package calibrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// trainedRecall is the weighted recall, at 1.3 times the active neurons, at
// which a rank is enough: what the sketch of the embedded model has.
const trainedRecall = 0.97

// factors makes factors for a layer from the first rows tokens of x: the
// closed-form starts of several ranks or, where there is time, one that is
// trained with the other tokens held out, unless that was done before. There
// are none where there is nothing to learn from: a layer that never fires.
func (f *fitter) factors(ctx context.Context, l int, x device.Act, bias []float32, rows int) ([]lowrank.Factors, error) {
	if t, ok := f.c.Trained[l]; ok {
		return []lowrank.Factors{t.Clone()}, nil
	}
	w, err := f.first(l)
	if err != nil {
		return nil, err
	}
	train, held, err := f.data(ctx, x, w, bias, rows)
	if err != nil {
		return nil, err
	}
	if train.Active() == 0 {
		return nil, nil
	}
	o := lowrank.DefaultOptions()
	o.Seed, o.Threads = f.c.Seed+1, f.c.Threads
	if f.c.need.closed {
		var most int64 // bytes
		if f.c.Predictor == "" {
			most = sketchBytes(f.c.profile)
		}
		from, to := fewestRank, mostStart
		if f.c.Rank > 0 {
			from, to = f.c.Rank, f.c.Rank
		}
		return lowrank.Starts(ctx, w, bias, train, from, to, most, o)
	}
	got, err := f.train(ctx, l, w, bias, train, held, o)
	if errors.Is(err, lowrank.ErrSilent) {
		return nil, nil
	}
	return []lowrank.Factors{got}, err
}

// train trains a layer on train, holding out held.
func (f *fitter) train(ctx context.Context, l int, w, bias []float32, train, held *lowrank.Data, o lowrank.Options) (lowrank.Factors, error) {
	target := lowrank.Target{Recall: trainedRecall}
	if f.c.Predictor == "" {
		target.MaxBytes = sketchBytes(f.c.profile)
	}
	got, report, err := lowrank.ChooseRank(ctx, w, bias, train, held, target, o, func(step int, loss, recall float64) {
		f.c.progress(fmt.Sprintf("training layer %d of %d: step %d, loss %.4f, recall %.4f", l+1, f.c.profile.Layers, step, loss, recall), l, f.c.profile.Layers)
	})
	if err != nil {
		return lowrank.Factors{}, err
	}
	f.c.notify("layer %d: rank %d, %v (untrained %.4f)", l, got.Rank, report.Trained, report.Start.RecallWeighted)
	if f.c.Finished != nil {
		if f.c.Trained == nil {
			f.c.Trained = make(map[int]lowrank.Factors)
		}
		f.c.Trained[l] = got.Clone()
		if err := f.c.Finished(f.c.Trained); err != nil {
			return lowrank.Factors{}, err
		}
	}
	return got, nil
}

// first is a layer's first halves, [ffn, d].
func (f *fitter) first(l int) (w []float32, err error) {
	m, slots, err := f.slots()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	w = make([]float32, f.ffn*f.d)
	norm := make([]float32, blockNeurons)
	for at := 0; at < f.ffn; at += blockNeurons {
		count := min(blockNeurons, f.ffn-at)
		if err := f.neurons(l, at, count, slots, norm); err != nil {
			return nil, err
		}
		for i := range count {
			tensor.Decode(w[(at+i)*f.d:(at+i+1)*f.d], slots.Vec(int32(i), 0), slots.DType)
		}
	}
	return w, nil
}

// data is what a layer's neurons did for inputs x: for the first rows tokens,
// and for the others.
func (f *fitter) data(ctx context.Context, x device.Act, w, bias []float32, rows int) (train, held *lowrank.Data, err error) {
	if train, err = lowrank.NewData(f.d, f.ffn); err != nil {
		return nil, nil, err
	}
	if held, err = lowrank.NewData(f.d, f.ffn); err != nil {
		return nil, nil, err
	}
	const chunk = 64 // tokens
	mat := device.Mat{Data: bytesOf(w), DType: tensor.F32, Rows: f.ffn, Cols: f.d}
	pre := device.NewAct(chunk, f.ffn)
	for t := 0; t < x.Rows; {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		to, end := train, rows
		if t >= rows {
			to, end = held, x.Rows
		}
		n := min(chunk, end-t)
		part := x.Rowspan(t, n)
		f.be.Linear(pre.Top(n), part, mat, bias)
		if err := to.Add(x.Data[t*f.d:(t+n)*f.d], pre.Data[:n*f.ffn]); err != nil {
			return nil, nil, err
		}
		t += n
	}
	return train, held, nil
}
