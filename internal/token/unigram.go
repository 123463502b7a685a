package token

import (
	"math"
	"slices"
)

// unigram cuts a piece into the tokens of the greatest sum of scores (Kudo
// 2018, arXiv:1804.10959), by the best path to each place.
type unigram struct {
	words    *wordTable
	scores   []float64 // by id
	unk      int32
	unkScore float64     // below every score
	fallback *[256]int32 // the tokens of the bytes of unknown text; nil for unk
}

// bestPath is the best way to a place in a piece.
type bestPath struct {
	score float64
	from  int32
	id    int32 // of the last token; none: no way leads there
}

// unkPenalty is how much worse than the worst token an unknown character is.
const unkPenalty = 10

func (m *unigram) encode(s *scratch, dst []int32, piece string) []int32 {
	s.best = slices.Grow(s.best[:0], len(piece)+1)[:len(piece)+1]
	for i := range s.best {
		s.best[i] = bestPath{math.Inf(-1), 0, none}
	}
	s.best[0].score = 0
	for at := 0; at < len(piece); {
		n := runeLen(piece[at:])
		single := false
		for end := at + n; end <= len(piece) && end-at <= m.words.longest; {
			if id := m.words.find(piece[at:end]); id != noByte {
				m.reach(s.best, at, end, id, m.scores[id])
				single = single || end == at+n
			}
			if end == len(piece) {
				break
			}
			end += runeLen(piece[end:])
		}
		if !single {
			m.reach(s.best, at, at+n, m.unk, m.unkScore)
		}
		at += n
	}
	start := len(dst)
	for at := len(piece); at > 0; {
		// Unknown characters next to each other are one unknown text.
		b := s.best[at]
		for b.id == m.unk && b.from > 0 && s.best[b.from].id == m.unk {
			b.from = s.best[b.from].from
		}
		dst = m.write(dst, b.id, piece[b.from:at])
		at = int(b.from)
	}
	slices.Reverse(dst[start:])
	return dst
}

func (m *unigram) reach(best []bestPath, at, end int, id int32, score float64) {
	if score += best[at].score; best[end].id == none || score > best[end].score {
		best[end] = bestPath{score, int32(at), id}
	}
}

// write appends a token, the last byte of unknown text first.
func (m *unigram) write(dst []int32, id int32, text string) []int32 {
	if id == m.unk && m.fallback != nil {
		for i := len(text) - 1; i >= 0; i-- {
			dst = append(dst, m.fallback[text[i]])
		}
		return dst
	}
	if id == none {
		return dst
	}
	return append(dst, id)
}
