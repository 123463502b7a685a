package predict

import (
	"math"
	"slices"
)

// Selection decides from a token's scores which neurons are wanted: as many
// as Multiple times the number of scores above zero, the highest first.
type Selection struct {
	// Multiple of 1 wants exactly the scores above zero. More hedges against
	// a predictor's error at the cost of computing neurons that stay silent.
	Multiple float64
	keys     []uint32     // [scores] see orderOf
	counts   *[4096]int32 // of keys by their digit
}

// Threshold is the bar: neurons whose score is above it are wanted. NaN is
// never wanted.
func (s *Selection) Threshold(scores []float32) float32 {
	if s.Multiple == 1 {
		return 0
	}
	positive, ranked := s.rank(scores)
	switch k := int(math.Ceil(s.Multiple * float64(positive))); {
	case k == 0:
		return float32(math.Inf(1))
	case k >= ranked:
		return float32(math.Inf(-1))
	default:
		return math.Nextafter32(s.kthLargest(k), float32(math.Inf(-1))) // all that tie with it are wanted
	}
}

// rank sets the scores' keys, counts their highest digits, and returns how many
// scores are above zero and how many are not NaN.
func (s *Selection) rank(scores []float32) (positive, ranked int) {
	if s.counts == nil {
		s.counts = new([4096]int32)
	}
	clear(s.counts[:])
	s.keys = slices.Grow(s.keys[:0], len(scores))[:len(scores)]
	counts, keys := s.counts, s.keys
	for i, v := range scores {
		key := orderOf(v)
		keys[i] = key
		counts[key>>20]++
	}
	for _, n := range counts[zeroDigit+1:] {
		positive += int(n)
	}
	if counts[zeroDigit] > 0 {
		for _, key := range keys {
			if key>>20 == zeroDigit && key > zeroKey {
				positive++
			}
		}
	}
	ranked = len(scores)
	if slices.Max(counts[:nanBelow]) == 0 && slices.Max(counts[nanFrom:]) == 0 {
		return positive, ranked
	}
	for i, v := range scores {
		if v != v {
			if keys[i] > zeroKey {
				positive--
			}
			counts[keys[i]>>20]--
			keys[i] = 0 // the lowest
			counts[0]++
			ranked--
		}
	}
	return positive, ranked
}

const (
	zeroKey   = 1 << 31 // the place of 0, above that of -0
	zeroDigit = zeroKey >> 20
	// NaN have highest digits below nanBelow or, as infinity has, from nanFrom on.
	nanBelow, nanFrom = 0x008, 0xff8
)

// orderOf is v's place in the order of all float32: it grows with v.
func orderOf(v float32) uint32 {
	b := math.Float32bits(v)
	return b ^ (uint32(int32(b)>>31) | zeroKey)
}

// kthLargest is the value of the k-th largest key, k from 1, of ranked scores.
// It looks at 12 bits of the keys at a time, from the highest, and keeps those
// that have the digit of the one it looks for, which the counts tell. No order
// of the keys makes it slow.
func (s *Selection) kthLargest(k int) float32 {
	keys := s.keys
	for shift := 20; ; {
		digit := uint32(len(s.counts) - 1)
		for ; int(s.counts[digit]) < k; digit-- {
			k -= int(s.counts[digit])
		}
		n := 0
		for _, key := range keys {
			keys[n] = key
			next := n + 1
			if key>>shift&0xfff != digit {
				next = n
			}
			n = next
		}
		keys = keys[:n]
		if shift == 0 {
			return math.Float32frombits(keys[0] ^ (^uint32(int32(keys[0])>>31) | zeroKey))
		}
		shift = max(0, shift-12)
		clear(s.counts[:])
		for _, key := range keys {
			s.counts[key>>shift&0xfff]++
		}
	}
}
