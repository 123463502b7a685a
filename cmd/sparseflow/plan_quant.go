package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/mirror"
)

// asQuant is a model in other element types: for a budget that does not hold it.
type asQuant struct {
	Quant      string  `json:"quant"`
	TotalBytes int64   `json:"total_bytes"` // of the whole process, with all in memory
	Fits       bool    `json:"fits"`        // all in the budget
	TokS       float64 `json:"tok_s_estimate"`
}

// quantsByLoss are the element types that are proposed, those that lose least first.
// A neuron's halves are of few.
func quantsByLoss(p config.ModelProfile) []string {
	if p.Sparse() {
		return []string{"q8_0", "q4_0"}
	}
	return []string{"q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"}
}

// smaller is the element types that lose least of those in which all of a model fits
// the budget that p does not hold it in, or the smallest where it fits in none; nil
// where p streams no matrices, or has the smallest already.
func smaller(p planned) (best *asQuant, err error) {
	if p.Streamed == 0 {
		return nil, nil
	}
	c := sparseflow.SparseFlowConfig{Profile: mirror.To[sparseflow.ModelProfile](p.profile), Strategy: p.strategy}
	c.Strategy.Context = p.Context
	c.Strategy.Budget.Share, c.Strategy.Budget.Bytes = 0, p.Process.BudgetBytes
	for _, quant := range quantsByLoss(p.profile) {
		q, err := sparseflow.PlanQuant(c, quant)
		var small *sparseflow.BudgetError
		switch {
		case q == nil:
			return nil, err
		case err != nil && !errors.As(err, &small):
			return nil, err
		case q.Share.TotalBytes >= p.Share.TotalBytes:
			continue // it is not smaller than what there is
		}
		best = &asQuant{quant, q.Process.TotalBytes, q.Process.TotalBytes <= p.Process.BudgetBytes, 1 / planned{Placement: q, limits: p.limits}.seconds()}
		if best.Fits {
			break
		}
	}
	return best, nil
}

// String is a sentence.
func (q *asQuant) String() string {
	if q.Fits {
		return fmt.Sprintf("in %s all of it would fit, in %s: some %s tokens/s", q.Quant, config.FormatSize(q.TotalBytes), figures(q.TokS))
	}
	return fmt.Sprintf("in %s it would take %s, and stream less: some %s tokens/s", q.Quant, config.FormatSize(q.TotalBytes), figures(q.TokS))
}

// layerRanges are the numbers of the layers that are set, counted from 0: "1, 3-5".
func layerRanges(set []bool) string {
	var ranges []string
	for l := 0; l < len(set); l++ {
		first := l
		for l < len(set) && set[l] {
			l++
		}
		switch l - first {
		case 0:
		case 1:
			ranges = append(ranges, fmt.Sprint(first))
		default:
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, l-1))
		}
	}
	return strings.Join(ranges, ", ")
}
