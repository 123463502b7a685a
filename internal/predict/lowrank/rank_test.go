package lowrank

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChooseRank(t *testing.T) {
	l := newLayer(96, 256, 20)
	train, held, o := l.data(t, 2048, 1), l.data(t, 512, 2), quick()
	choose := func(target Target) (Factors, Report) {
		f, report, err := ChooseRank(context.Background(), l.w, l.bias, train, held, target, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Measure(f, held, o)
		if err != nil || q.RecallWeighted != report.Trained.RecallWeighted {
			t.Errorf("target %+v: got factors of recall %v, %v, and a report of %v", target, q.RecallWeighted, err, report.Trained.RecallWeighted)
		}
		return f, report
	}
	recalls := map[int]float64{}
	for _, rank := range []int{16, 32, 64} {
		_, report, err := Train(context.Background(), mustStart(t, l, rank, train, o), train, held, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		recalls[rank] = report.Trained.RecallWeighted
	}
	t.Logf("recall by rank: %v", recalls)
	if f, report := choose(Target{Recall: recalls[16] - 0.01}); f.Rank != 16 {
		t.Errorf("got rank %d of recall %v, want 16", f.Rank, report.Trained.RecallWeighted)
	}
	if f, report := choose(Target{Recall: (recalls[16] + recalls[32]) / 2}); f.Rank != 32 || report.Trained.RecallWeighted < (recalls[16]+recalls[32])/2 {
		t.Errorf("got rank %d of recall %v, want 32", f.Rank, report.Trained.RecallWeighted)
	}
	// Out of reach, and within bytes.
	limit := FactorBytes(96, 256, 32)
	if f, _ := choose(Target{Recall: 1, MaxBytes: limit}); f.Rank != 32 || f.Bytes() > limit {
		t.Errorf("got rank %d of %d bytes, want 32 within %d", f.Rank, f.Bytes(), limit)
	}
	if f, _ := choose(Target{Recall: 1, MaxBytes: limit - 1}); f.Rank != 16 {
		t.Errorf("got rank %d, want 16", f.Rank)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f, _, err := ChooseRank(ctx, l.w, l.bias, train, held, Target{Recall: 0.5}, o, nil)
	if !errors.Is(err, context.Canceled) || f.Rank != 16 {
		t.Errorf("cancelled: got rank %d, %v, want the start of the first", f.Rank, err)
	}
	for _, c := range []struct {
		train, held *Data
		target      Target
		want        string
	}{
		{train, held, Target{Recall: 0.9, MaxBytes: 100}, "got a limit of 100 bytes, want at least 10848 for rank 16"},
		{train, held, Target{}, "want a recall above 0"},
		{nil, held, Target{Recall: 0.9}, "training data: got none"},
		{train, nil, Target{Recall: 0.9}, "held-out data: got none"},
	} {
		if _, _, err := ChooseRank(context.Background(), l.w, l.bias, c.train, c.held, c.target, o, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct {
		d, ffn int
		bytes  int64
		want   []int
	}{
		{256, 1024, 0, []int{16, 32, 64, 128}}, // 256 is no smaller than fc1
		{4096, 16384, 0, []int{16, 32, 64, 128, 256, 512, 1024, 2048}},
		{4096, 16384, FactorBytes(4096, 16384, 96), []int{16, 32, 64}},
		{8, 100, 0, []int{8}},
		{100, 4, 0, []int{4}},
	} {
		if got, err := candidates(c.d, c.ffn, c.bytes); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d x %d in %d bytes: got %v, %v, want %v", c.ffn, c.d, c.bytes, got, err, c.want)
		}
	}
}
