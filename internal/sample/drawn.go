package sample

import (
	"math/rand/v2"
	"sort"
)

// DrawTokens draws n token ids of a vocabulary, independently of each other, by
// Zipf's law in Mandelbrot's form: the probability of the id at rank r = 1, 2...
// is proportional to 1/(r + 2.7), his constant for English words. Rank 1 is
// the first id after the four special ones, since a merged vocabulary has its
// commonest tokens first; special ids are not drawn. The same arguments give
// the same ids; tokens for measuring come from another seed than those that a
// model was calibrated on, so any seed from 0 to 2^63-1 is held out.
func DrawTokens(vocab, n int, seed uint64) []int32 {
	first := min(specialTokens, vocab-1)
	sums := make([]float64, vocab-first) // of the probabilities up to each rank
	sum := 0.0
	for i := range sums {
		sum += 1 / (float64(i+1) + zipfShift)
		sums[i] = sum
	}
	rng := rand.New(rand.NewPCG(seed, uint64(vocab)))
	ids := make([]int32, n)
	for i := range ids {
		at := sort.SearchFloat64s(sums, rng.Float64()*sum)
		ids[i] = int32(first + min(at, len(sums)-1))
	}
	return ids
}

const (
	specialTokens = 4 // OPT's <s>, <pad>, </s> and <unk>
	zipfShift     = 2.7
	// CalibrationSeeds is set in the seeds of calibration tokens alone.
	CalibrationSeeds = 1 << 63
)
