package placement

import (
	"github.com/sparseflow/sparseflow/internal/cache"
)

const (
	// dealBlocks is how many parts a layer's slots are dealt in: fine enough to
	// follow the counts, coarse enough to be above their noise.
	dealBlocks = 128
	// setsAtLeast is how many times what a token has active a layer gets before
	// any layer gets more: a predictor wants more than is active, some tokens
	// more than others, and for a set that is larger than the cache nothing is
	// read early. Up to 2 costs no misses on recorded traces, 4 a tenth more
	// with slots for a tenth of the neurons.
	setsAtLeast = 2
)

// Deal deals total slots out to the layers of counts, none getting more than it
// has neurons: the next few go to the layer whose next hottest neurons were
// active most often. What a layer expects to miss is the activations of neurons
// without a slot, which falls ever slower, so that taking the largest fall each
// time is best in all. But first every layer gets what a token needs, or as much
// of that as all can have.
//
// The order of dealing does not depend on total: with more slots no layer gets
// fewer.
func Deal(total int, counts *cache.Counts) []int {
	d := dealer{slots: make([]int, len(counts.Neurons))}
	for l, n := range counts.Neurons {
		d.add(counts.Hottest(l), n, counts.Tokens)
	}
	for total > 0 {
		l := d.next()
		if l < 0 {
			break
		}
		n := min(d.block(l), total)
		d.slots[l] += n
		total -= n
	}
	return d.slots
}

// dealer deals slots out.
type dealer struct {
	slots []int
	need  []int      // [layers] what a token needs
	below [][]uint64 // [layers][ffn+1] activations of the hottest n neurons
}

// add adds a layer.
func (d *dealer) add(hottest []int32, counts []uint32, tokens int) {
	below := make([]uint64, 1, len(counts)+1)
	for i, id := range hottest {
		below = append(below, below[i]+uint64(counts[id]))
	}
	all := float64(below[len(counts)])
	need := int(setsAtLeast * all / float64(max(1, tokens)))
	d.below, d.need = append(d.below, below), append(d.need, min(need, len(counts)))
}

// ffn is the number of neurons of a layer.
func (d *dealer) ffn(l int) int { return len(d.below[l]) - 1 }

// block is the size of a layer's next part.
func (d *dealer) block(l int) int { return min(max(1, d.ffn(l)/dealBlocks), d.ffn(l)-d.slots[l]) }

// gain is how many activations a slot of a layer's next part would serve.
func (d *dealer) gain(l int) float64 {
	at, n := d.slots[l], d.block(l)
	return float64(d.below[l][at+n]-d.below[l][at]) / float64(n)
}

// next is the layer that the next part goes to, -1 if all are full: the one
// that has fewest of those that have less than a token needs, or the one that
// gains most and, of equals, has fewest.
func (d *dealer) next() int {
	short, best, most := -1, -1, 0.0
	for l, n := range d.slots {
		if n < d.need[l] && (short < 0 || n < d.slots[short]) {
			short = l
		}
		if n == d.ffn(l) {
			continue
		}
		if g := d.gain(l); best < 0 || g > most || g == most && n < d.slots[best] {
			best, most = l, g
		}
	}
	if short >= 0 {
		return short
	}
	return best
}
