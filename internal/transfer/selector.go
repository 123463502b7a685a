package transfer

import (
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
)

// selector asks the predictor which units of a layer tokens want.
type selector struct {
	Policy
	units int // of a layer

	ids   []int32  // of the latest pick
	wants []uint64 // [units, words] which token wants which unit
}

// score has the predictor score all units for x, [tokens, d].
func (s *selector) score(layer int, x device.Act, count *Stats) error {
	defer since(&count.Predict, time.Now())
	if err := s.Predictor.Scores(layer, x.Rows, x.Data[:x.Rows*x.Cols], s.Scores[:x.Rows*s.units]); err != nil {
		return fmt.Errorf("transfer: predict layer %d: %w", layer, err)
	}
	return nil
}

// pick is the units that the latest scores ask for, valid until the next pick.
func (s *selector) pick(tokens int, count *Stats) device.Work {
	defer since(&count.Predict, time.Now())
	if tokens == 1 {
		scores := s.Scores[:s.units]
		s.ids = above(s.ids[:0], scores, s.Selection.Threshold(scores))
		return device.Work{IDs: s.ids}
	}
	words := (tokens + 63) / 64
	s.wants = append(s.wants[:0], make([]uint64, s.units*words)...)
	for t := range tokens {
		row := s.Scores[t*s.units : (t+1)*s.units]
		s.ids = above(s.ids[:0], row, s.Selection.Threshold(row))
		for _, i := range s.ids {
			s.wants[int(i)*words+t>>6] |= 1 << (t & 63)
		}
	}
	// Close the gaps of units that no token wants.
	s.ids = s.ids[:0]
	wants := s.wants[:0]
	for i := range s.units {
		w := s.wants[i*words : (i+1)*words]
		if slices.ContainsFunc(w, func(bits uint64) bool { return bits != 0 }) {
			s.ids = append(s.ids, int32(i))
			wants = append(wants, w...)
		}
	}
	return device.Work{IDs: s.ids, Wants: wants, WantWords: words}
}

// above appends to ids the indices of the scores that are above bar. It writes
// every index and keeps only those: a branch for each score would be
// mispredicted for most that are wanted.
func above(ids []int32, scores []float32, bar float32) []int32 {
	n := len(ids)
	ids = slices.Grow(ids, len(scores))[:n+len(scores)]
	for i, v := range scores {
		ids[n] = int32(i)
		next := n + 1
		if !(v > bar) {
			next = n
		}
		n = next
	}
	return ids[:n]
}
