package trace

import (
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/heap"
)

// never is later than any step.
const never = math.MaxInt32

// nextUses is, for each use of a neuron, the step that wants it next, never if
// none does. [len(ids)]
func (s *Sets) nextUses(ffn int) []int32 {
	next := make([]int32, len(s.IDs))
	last := make([]int32, ffn)
	for i := range last {
		last[i] = never
	}
	for t := len(s.Ends) - 1; t >= 0; t-- {
		from, to := s.span(t)
		for i := from; i < to; i++ {
			next[i] = last[s.IDs[i]]
			last[s.IDs[i]] = int32(t)
		}
	}
	return next
}

// Optimal is the least misses that any policy could have with slots slots for
// the ffn neurons, which begin empty or with any of them: after each step stay
// those, of the cached and the just used, that are wanted again soonest (Belady,
// "A study of replacement algorithms for a virtual-storage computer", 1966, with
// leave not to cache what was just used, as a neuron without a slot is computed
// from staging memory). It calls missed, if not nil, with each step's misses.
func (s *Sets) Optimal(ffn, slots int, empty bool, missed func(ids []int32)) (misses int) {
	c := belady{due: make([]int32, ffn), heap: make(heap.Keys, 0, 4*ffn)}
	for i := range c.due {
		c.due[i] = absent
	}
	// The neurons that are wanted first are there at the beginning.
	for t := range s.Ends {
		if empty {
			break
		}
		for _, id := range s.At(t) {
			if c.due[id] == absent && c.size < slots {
				c.keep(id, int32(t))
			}
		}
	}
	next := s.nextUses(ffn)
	var gone []int32
	for t := range s.Ends {
		from, to := s.span(t)
		gone = gone[:0]
		for i := from; i < to; i++ {
			if c.due[s.IDs[i]] == absent {
				gone = append(gone, s.IDs[i])
			}
			c.keep(s.IDs[i], next[i])
		}
		misses += len(gone)
		if missed != nil {
			missed(gone)
		}
		for c.size > slots {
			c.evict()
		}
	}
	return misses
}

// absent is the due of a neuron that is not cached.
const absent = -1

// belady is a cache that knows when each neuron is wanted next.
type belady struct {
	due  []int32 // [ffn] step that wants the neuron next, or absent
	size int
	// heap has the cached neurons by their due, the latest first, as
	// (never-due)<<32 | id. Keeping a neuron again leaves its old entry, whose due is
	// then past: below all that are cached, it never comes to the top. When
	// they are many, old entries are thrown out.
	heap heap.Keys // cap 4 ffn
}

// keep caches a neuron, or says when a cached one is wanted next.
func (c *belady) keep(id, due int32) {
	if c.due[id] == absent {
		c.size++
	}
	c.due[id] = due
	if len(c.heap) == cap(c.heap) {
		c.heap = slices.DeleteFunc(c.heap, func(e uint64) bool { return c.due[uint32(e)] != never-int32(e>>32) })
		slices.Sort(c.heap) // what rises is a heap
	}
	c.heap.Push(uint64(never-due)<<32 | uint64(id))
}

// evict empties the slot of the neuron that is wanted last. Whatever was due
// must have been kept with a new due.
func (c *belady) evict() {
	c.due[uint32(c.heap.Pop())] = absent
	c.size--
}
