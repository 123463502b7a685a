package lowrank

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Target is what ChooseRank looks for.
type Target struct {
	// Recall is the held-out weighted recall at Options.Multiple times the
	// active share that is enough.
	Recall float64
	// MaxBytes is the most that the stored factors may take; 0: no limit.
	MaxBytes int64
}

const (
	leastRank = 16 // less saves nothing worth having
	// A rank is not trained where its start misses more than this many times
	// the activation that the target allows. On the embedded model's layers
	// training divided what the start missed by 1.4 to 1.8.
	hopeless = 2.5
)

// ChooseRank starts and trains the smallest rank of 16, 32, 64 ... that meets
// the target, or returns the best one found where none does. Ranks end where
// the factors would be no smaller than fc1 itself, or past target.MaxBytes.
// Ranks whose start is hopeless are passed over untrained; the largest is
// always tried. The rest is as in Start and Train.
func ChooseRank(ctx context.Context, w, bias []float32, train, held *Data, target Target, o Options, progress func(step int, loss, recall float64)) (Factors, Report, error) {
	if err := o.validate("choose rank"); err != nil {
		return Factors{}, Report{}, err
	}
	if !(target.Recall > 0) || target.MaxBytes < 0 {
		return Factors{}, Report{}, fmt.Errorf("lowrank: choose rank: got target %+v, want a recall above 0 and no negative bytes", target)
	}
	if train == nil {
		return Factors{}, Report{}, errors.New("lowrank: choose rank: training data: got none, want some")
	}
	if err := held.check("choose rank", "held-out", train.d, train.ffn); err != nil {
		return Factors{}, Report{}, err
	}
	ranks, err := candidates(train.d, train.ffn, target.MaxBytes)
	if err != nil {
		return Factors{}, Report{}, err
	}
	last := ranks[len(ranks)-1]
	// Even who is stopped at once gets a start.
	b, err := newBasis(context.WithoutCancel(ctx), w, bias, train.d, last, train, o)
	if err != nil {
		return Factors{}, Report{}, err
	}
	var best Factors
	var report Report
	for _, rank := range ranks {
		start := b.factors(rank)
		q := newMeter(start, o, train.meanValue()).measure(start, held, o.Multiple)
		if rank < last && 1-q.RecallWeighted > hopeless*(1-target.Recall) {
			continue
		}
		f, r, err := Train(ctx, start, train, held, o, progress)
		if best.Rank == 0 || r.Trained.RecallWeighted > report.Trained.RecallWeighted {
			best, report = f, r
		}
		if err != nil || r.Trained.RecallWeighted >= target.Recall {
			return best, report, err
		}
	}
	return best, report, nil
}

// Starts is the starts of the ranks of 16, 32, 64 ... from least to most whose
// factors take no more than maxBytes (0: no limit), from one decomposition;
// where all are below least, the highest of them. The rest is as in Start.
func Starts(ctx context.Context, w, bias []float32, data *Data, least, most int, maxBytes int64, o Options) ([]Factors, error) {
	if err := o.validate("starts"); err != nil {
		return nil, err
	}
	ranks, err := candidates(data.d, data.ffn, maxBytes)
	if err != nil {
		return nil, err
	}
	least = min(least, ranks[len(ranks)-1])
	ranks = slices.DeleteFunc(ranks, func(rank int) bool { return rank < least || rank > max(least, most) })
	b, err := newBasis(ctx, w, bias, data.d, ranks[len(ranks)-1], data, o)
	if err != nil {
		return nil, err
	}
	starts := make([]Factors, len(ranks))
	for i, rank := range ranks {
		starts[i] = b.factors(rank)
	}
	return starts, nil
}

// candidates are the ranks worth trying, ascending, at least one.
func candidates(d, ffn int, maxBytes int64) ([]int, error) {
	var ranks []int
	for rank := min(leastRank, d, ffn); rank <= min(d, ffn); rank *= 2 {
		if len(ranks) > 0 && rank*(d+ffn) >= d*ffn || maxBytes > 0 && FactorBytes(d, ffn, rank) > maxBytes {
			break
		}
		ranks = append(ranks, rank)
	}
	if len(ranks) == 0 {
		return nil, fmt.Errorf("lowrank: choose rank: got a limit of %d bytes, want at least %d for rank %d of a %d x %d fc1",
			maxBytes, FactorBytes(d, ffn, min(leastRank, d, ffn)), min(leastRank, d, ffn), ffn, d)
	}
	return ranks, nil
}
