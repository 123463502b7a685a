package lowrank

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// quick are options for a test's small layer.
func quick() Options {
	o := DefaultOptions()
	o.Epochs, o.Batch = 6, 64
	return o
}

func mustStart(t testing.TB, l layer, rank int, data *Data, o Options) Factors {
	t.Helper()
	f, err := Start(t.Context(), l.w, l.bias, l.d, rank, data, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Training finds more of the activation that the start misses, on tokens it
// has not seen, and what it reports is what Measure finds.
func TestTrainBeatsStart(t *testing.T) {
	l := newLayer(96, 256, 12)
	train, held, o := l.data(t, 4096, 1), l.data(t, 512, 2), quick()
	start := mustStart(t, l, 12, train, o)
	calls := 0
	f, report, err := Train(context.Background(), start, train, held, o, func(step int, loss, recall float64) {
		calls++
		if step != calls*64 || !(loss > 0) || !(recall > 0 && recall < 1) {
			t.Errorf("progress %d: got step %d, loss %v, recall %v", calls, step, loss, recall)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start: %v", report.Start)
	t.Logf("trained: %v, epoch %d", report.Trained, report.Best)
	if calls != report.Epochs || report.Steps != 64*report.Epochs {
		t.Errorf("got %d calls and %d steps for %d epochs", calls, report.Steps, report.Epochs)
	}
	if a := report.Start.Active; a < 0.04 || a > 0.08 {
		t.Errorf("got an active share of %.3f, want a layer of about 6 %%", a)
	}
	if got, was := 1-report.Trained.RecallWeighted, 1-report.Start.RecallWeighted; got > 0.6*was {
		t.Errorf("missed activation: got %.4f, want at most 0.6 of the start's %.4f", got, was)
	}
	if q := report.Trained; !near(q.Positive, q.Active, 0.1) {
		t.Errorf("got a share %.4f of scores above zero, want about the active share %.4f", q.Positive, q.Active)
	}
	if !near(report.Trained.Computed, 1.3*report.Trained.Active, 0.01) {
		t.Errorf("got a computed share %.4f of %.4f active, want 1.3 times", report.Trained.Computed, report.Trained.Active)
	}
	stored, err := f.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Decode("", f.D, f.FFN, finder(stored)); err != nil || !cmp.Equal(f, back) {
		t.Errorf("stored factors differ from the trained ones, %v", err)
	}
	q, err := Measure(f, held, o)
	if err != nil || q.RecallWeighted != report.Trained.RecallWeighted || q.Positive != report.Trained.Positive {
		t.Errorf("measure: got %v, %v, want %v", q, err, report.Trained)
	}
}

func TestTrainDeterministic(t *testing.T) {
	l := newLayer(40, 100, 6)
	train, held := l.data(t, 500, 1), l.data(t, 100, 2)
	run := func(threads int, seed uint64) Factors {
		o := quick()
		o.Threads, o.Seed, o.Epochs = threads, seed, 2
		f, _, err := Train(context.Background(), mustStart(t, l, 6, train, o), train, held, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	same := func(f, g Factors) bool {
		return slices.Equal(f.A, g.A) && slices.Equal(f.B, g.B) && slices.Equal(f.Bias, g.Bias)
	}
	want := run(1, 1)
	for _, threads := range []int{1, 2, 5} {
		if !same(run(threads, 1), want) {
			t.Errorf("%d threads: got other factors than with one", threads)
		}
	}
	if same(run(1, 2), want) {
		t.Error("another seed gave the same factors")
	}
}

// What training is cut short at is the best so far.
func TestTrainCancel(t *testing.T) {
	l := newLayer(40, 100, 6)
	train, held, o := l.data(t, 640, 1), l.data(t, 100, 2), quick()
	start := mustStart(t, l, 6, train, o)
	for _, after := range []int{0, 2} {
		ctx, cancel := context.WithCancel(context.Background())
		if after == 0 {
			cancel()
		}
		best, epochs := 0.0, 0
		f, report, err := Train(ctx, start, train, held, o, func(_ int, _, recall float64) {
			best = max(best, recall)
			if epochs++; epochs == after {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) || report.Epochs != after {
			t.Errorf("after %d epochs: got %d epochs, %v, want %v", after, report.Epochs, err, context.Canceled)
		}
		q, err := Measure(f, held, o)
		if err != nil || q.RecallWeighted != report.Trained.RecallWeighted || q.RecallWeighted < best {
			t.Errorf("after %d epochs: got factors of recall %v, %v, want the best, %v", after, q.RecallWeighted, err, best)
		}
	}
}

// With a rate that ruins the factors, the start is what comes back.
func TestTrainKeepsStart(t *testing.T) {
	l := newLayer(40, 100, 6)
	train, held, o := l.data(t, 640, 1), l.data(t, 100, 2), quick()
	o.LearningRate, o.Patience = 1, 1
	_, report, err := Train(context.Background(), mustStart(t, l, 30, train, o), train, held, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Best != 0 || report.Epochs != 1 || !near(report.Trained.RecallWeighted, report.Start.RecallWeighted, 0.01) {
		t.Errorf("got the factors of epoch %d of %d, want the start's after 1", report.Best, report.Epochs)
	}
}

func TestTrainRefuses(t *testing.T) {
	l := newLayer(8, 16, 2)
	good := l.data(t, 200, 1)
	silent, _ := NewData(8, 16)
	if err := silent.Add(make([]float32, 100*8), make([]float32, 100*16)); err != nil {
		t.Fatal(err)
	}
	start := mustStart(t, l, 2, good, quick())
	bad := start.Clone()
	bad.B[3] = float32(math.NaN())
	short := start.Clone()
	short.A = short.A[1:]
	for _, c := range []struct {
		start       Factors
		train, held *Data
		change      func(*Options)
		want        string
	}{
		{start, l.data(t, 63, 1), good, nil, "training data: got 63 tokens, want at least 64"},
		{start, good, l.data(t, 10, 1), nil, "held-out data: got 10 tokens, want at least 64"},
		{start, good, newLayer(8, 17, 2).data(t, 100, 1), nil, "held-out data: got d 8, ffn 17, want 8, 16"},
		{start, silent, good, nil, "training data: got no active neuron in 100 tokens"},
		{start, nil, good, nil, "training data: got none"},
		{bad, good, good, nil, "start: element 3: got NaN"},
		{short, good, good, nil, "got factors of 15, 32 and 16 elements, want 2 x 8"},
		{Factors{}, good, good, nil, "want all from 1"},
		{start, good, good, func(o *Options) { o.Batch = 0 }, "option Batch: got 0, want 1 to 65536"},
		{start, good, good, func(o *Options) { o.LearningRate = math.NaN() }, "option LearningRate: got NaN"},
		{start, good, good, func(o *Options) { o.Threads = -1 }, "option Threads: got -1"},
	} {
		o := quick()
		if c.change != nil {
			c.change(&o)
		}
		_, _, err := Train(context.Background(), c.start, c.train, c.held, o, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "lowrank: train: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
		if silent := c.train == silent; errors.Is(err, ErrSilent) != silent {
			t.Errorf("got error %v, want ErrSilent: %v", err, silent)
		}
	}
}

// The gradients are those of the loss: each is checked by finite differences.
func TestGradients(t *testing.T) {
	l := newLayer(10, 30, 3)
	data, o := l.data(t, 80, 1), quick()
	o.Batch, o.Negative = 80, 0.7
	tr := newTrainer(mustStart(t, l, 4, data, o), data, o)
	tr.opt.o.LearningRate = 0 // and so that steps move nothing:
	tr.opt.a.rate, tr.opt.b.rate, tr.opt.bias.rate = 0, 0, 0
	tr.step(tr.order)
	for _, part := range []struct {
		name  string
		param []float32
		grad  []float32
	}{
		{"A", tr.f.A, slices.Clone(tr.grad.a)},
		{"B", tr.f.B, slices.Clone(tr.grad.b)},
		{"bias", tr.f.Bias, slices.Clone(tr.grad.bias)},
	} {
		size := rms(part.grad)
		for i := 0; i < len(part.param); i += 3 {
			const h = 0.01
			was := part.param[i]
			part.param[i] = was + h
			up := tr.step(tr.order)
			part.param[i] = was - h
			down := tr.step(tr.order)
			part.param[i] = was
			if got, want := float64(part.grad[i]), (up-down)/(2*h); math.Abs(got-want) > 0.01*(size+math.Abs(want)) {
				t.Errorf("%s[%d]: got gradient %v, want %v", part.name, i, got, want)
			}
		}
	}
}

// Scores as log-odds: no scaling and no shift of them lowers the loss.
func TestToLogits(t *testing.T) {
	l := newLayer(40, 100, 6)
	data, o := l.data(t, 256, 1), quick()
	o.Batch = 256
	start := mustStart(t, l, 6, data, o)
	for _, unit := range []float64{1e-3, 1, 1e3} { // whatever the inputs' scale
		f := start.Clone()
		scale(f.A, unit)
		scale(f.Bias, unit)
		tr := newTrainer(f, data, o)
		lossAt := func(c, b float64) float64 {
			g := tr.f.Clone()
			scale(g.A, c)
			scale(g.Bias, c)
			for i := range g.Bias {
				g.Bias[i] += float32(b)
			}
			return tr.meter.measure(g, data, 1).Loss
		}
		best := lossAt(1, 0)
		for _, other := range []float64{lossAt(0.8, 0), lossAt(1.25, 0), lossAt(1, 0.2), lossAt(1, -0.2), lossAt(1.1, -0.1)} {
			if !(other > best) {
				t.Errorf("scores of unit %v: got loss %v, and %v with other log-odds", unit, best, other)
			}
		}
	}
}

// One layer of d 256, ffn 1024 from 16k tokens: a sixth of the smallest model.
func BenchmarkTrain(b *testing.B) {
	l := newLayer(256, 1024, 48)
	train, held, o := l.data(b, 16384, 1), l.data(b, 2048, 2), DefaultOptions()
	o.Patience = o.Epochs
	for _, rank := range []int{32, 64, 128} {
		b.Run(fmt.Sprintf("rank=%d", rank), func(b *testing.B) {
			for b.Loop() {
				start := mustStart(b, l, rank, train, o)
				_, report, err := Train(context.Background(), start, train, held, o, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(report.Start.RecallWeighted, "start-recall")
				b.ReportMetric(report.Trained.RecallWeighted, "recall")
			}
		})
	}
}
