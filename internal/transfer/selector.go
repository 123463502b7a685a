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
	units int      // of a layer
	ids   []int32  // of the latest pick
	marks []uint64 // [units, words] which token wants which unit
}

// wanted is the units that any of some tokens wants. It is valid until the
// selector's next pick.
type wanted struct {
	ids []int32 // ascending
	// tokens has a bit per unit and token, in words of 64 tokens as in
	// device.Work. Nil: every token wants every unit.
	tokens []uint64
}

// score has the predictor score all units for x, [tokens, d].
func (s *selector) score(layer int, x device.Act, count *Stats) error {
	begin := time.Now()
	defer func() { count.Predict += time.Since(begin) }()
	if err := s.Predictor.Scores(layer, x.Rows, x.Data[:x.Rows*x.Cols], s.Scores[:x.Rows*s.units]); err != nil {
		return fmt.Errorf("transfer: predict layer %d: %w", layer, err)
	}
	return nil
}

// pick is the units that the latest scores ask for.
func (s *selector) pick(tokens int, count *Stats) wanted {
	begin := time.Now()
	defer func() { count.Predict += time.Since(begin) }()
	if tokens == 1 {
		scores := s.Scores[:s.units]
		s.ids = above(s.ids[:0], scores, s.Selection.Threshold(scores))
		return wanted{ids: s.ids}
	}
	words := wantWords(tokens)
	s.marks = append(s.marks[:0], make([]uint64, s.units*words)...)
	for t := range tokens {
		row := s.Scores[t*s.units : (t+1)*s.units]
		s.ids = above(s.ids[:0], row, s.Selection.Threshold(row))
		for _, i := range s.ids {
			s.marks[int(i)*words+t>>6] |= 1 << (t & 63)
		}
	}
	return s.compact(words)
}

// compact closes the gaps that units which no token wants leave in marks.
func (s *selector) compact(words int) wanted {
	s.ids = s.ids[:0]
	tokens := s.marks[:0]
	for i := range s.units {
		m := s.marks[i*words : (i+1)*words]
		if slices.ContainsFunc(m, func(w uint64) bool { return w != 0 }) {
			s.ids = append(s.ids, int32(i))
			tokens = append(tokens, m...)
		}
	}
	return wanted{ids: s.ids, tokens: tokens}
}

// spread is a bit per unit of the layer and token, in to's memory, that says
// which token wants which unit.
func (w wanted) spread(to []uint64, units, tokens int) []uint64 {
	words := wantWords(tokens)
	to = append(to[:0], make([]uint64, units*words)...)
	for i, id := range w.ids {
		at := to[int(id)*words : (int(id)+1)*words]
		if w.tokens == nil {
			at[0] = 1 // of the one token
		} else {
			copy(at, w.tokens[i*words:])
		}
	}
	return to
}

func wantWords(tokens int) int { return (tokens + 63) / 64 }

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
