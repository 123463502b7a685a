package profile

import "math/bits"

// Reuse is how much the sets of neighbouring tokens have in common.
type Reuse struct {
	// New is the mean number of neurons that the token before did not have.
	New float64
	// Union5 and Union10 are the sizes of the union of the last 5 and 10
	// tokens' sets, in sets of one token.
	Union5, Union10 float64
}

// reuse compares tokens within windows of window tokens. ok is false where no
// token has 9 others before it, or none has an active neuron.
func (s sets) reuse(window int) (r Reuse, ok bool) {
	var fresh, pairs int
	var union, single [11]float64
	or := make([]uint64, s.words)
	for t := range s.len() {
		size, news := count(s.at(t)), 0
		if t%window > 0 {
			before := s.at(t - 1)
			for w, b := range s.at(t) {
				news += bits.OnesCount64(b &^ before[w])
			}
			fresh += news
			pairs++
		}
		clear(or)
		for back := range min(10, t%window+1) {
			for w, b := range s.at(t - back) {
				or[w] |= b
			}
			if back+1 == 5 || back+1 == 10 {
				union[back+1] += float64(count(or))
				single[back+1] += float64(size)
			}
		}
	}
	if single[10] == 0 || single[5] == 0 {
		return Reuse{}, false
	}
	return Reuse{float64(fresh) / float64(pairs), union[5] / single[5], union[10] / single[10]}, true
}

func count(set []uint64) (n int) {
	for _, b := range set {
		n += bits.OnesCount64(b)
	}
	return n
}
