package transfer

import "slices"

// above appends to ids the indices of the scores that are above bar. Every
// index is written and only those are kept: a branch for each score would be
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
