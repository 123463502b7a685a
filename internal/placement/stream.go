package placement

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// How far matrices are read ahead. While layers that are resident are multiplied,
// the disk fills as many blocks as there are buffers. A 64th of the memory costs a
// 64th more to read; it pays where a layer takes as long as some blocks.
const (
	aheadShare = 64 // of the room for weights, as its inverse
	mostAhead  = 32 // blocks
)

// readAhead gives memory to blocks that are read ahead, where matrices stream. The
// part of the room that it takes has no steps, so that a larger budget never leaves
// less.
func (p *planner) readAhead(room *int64) {
	all := int64(0)
	for _, x := range p.matrices {
		all += memory.PieceBytes(x.Bytes())
	}
	if *room <= 0 || *room >= all {
		return
	}
	block := memory.BufferBytes(p.BlockBytes)
	ahead := min(*room/aheadShare, mostAhead*block)
	slots := ahead / block
	p.BlockSlots += int(slots)
	if p.in.Strategy.Budget.Share > 0 { // which is of weights alone
		p.Process.BudgetBytes += withPageTables(slots * block)
		return
	}
	*room -= ahead
}

// spread is the order in which matrices become resident: first those of no layer,
// among them the head, then layer by layer. The layers are in an order of which every
// beginning lies evenly among all, so that between layers that stream there are some
// that do not, during which the disk reads ahead.
func spread(matrices []pack.Tensor, layers int) {
	rank := make([]int, layers)
	next, width := 0, bits.Len(uint(max(0, layers-1)))
	for i := range 1 << width {
		if l := int(bits.Reverse32(uint32(i)) >> (32 - width)); l < layers {
			rank[l] = next
			next++
		}
	}
	at := func(t pack.Tensor) int {
		if l := layerOf(t); l >= 0 {
			return rank[l]
		}
		return -1
	}
	slices.SortStableFunc(matrices, func(a, b pack.Tensor) int { return at(a) - at(b) })
}

// layerOf is the layer that a tensor is of, -1 if it is of none.
func layerOf(t pack.Tensor) int {
	name, ok := strings.CutPrefix(t.Name, "layers.")
	if !ok {
		return -1
	}
	name, _, _ = strings.Cut(name, ".")
	l, err := strconv.Atoi(name)
	if err != nil {
		return -1
	}
	return l
}

// streaming is how many layers stream.
func streaming(streams []bool) (n int) {
	for _, s := range streams {
		if s {
			n++
		}
	}
	return n
}
