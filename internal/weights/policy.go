package weights

import (
	"fmt"
	"strings"
)

// EvictionPolicy decides which slot of one layer gives way to a missing
// neuron. Slots are numbered 0 to n-1 within the layer. The cache calls it
// from one goroutine.
type EvictionPolicy interface {
	// Insert says that a neuron was placed in slot.
	Insert(slot, neuron int)
	// Hit says that the neuron in slot was used.
	Hit(slot int)
	// Victim is the slot to empty, one for which evictable is true (the
	// others are in use), or -1 to keep them all.
	Victim(evictable func(slot int) bool) int
}

// NewPolicy makes the policy of one layer with slots slots.
type NewPolicy func(layer, slots int) EvictionPolicy

// PolicyNames are the policies that PolicyByName knows.
func PolicyNames() []string { return []string{"lru", "frozen"} }

// PolicyByName finds a policy that comes with SparseFlow.
func PolicyByName(name string) (NewPolicy, error) {
	switch name {
	case "lru":
		return func(_, slots int) EvictionPolicy { return NewLRU(slots) }, nil
	case "frozen":
		return func(int, int) EvictionPolicy { return Frozen{} }, nil
	}
	return nil, fmt.Errorf("weights: eviction policy: got %q, want one of %s", name, strings.Join(PolicyNames(), ", "))
}

// Frozen never evicts: the neurons that came first stay.
type Frozen struct{}

// Insert does nothing.
func (Frozen) Insert(int, int) {}

// Hit does nothing.
func (Frozen) Hit(int) {}

// Victim is -1.
func (Frozen) Victim(func(int) bool) int { return -1 }

// LRU evicts the slot that has gone unused the longest: the policy of the
// original system. It is a doubly linked list laid over the slots, so that a
// hit costs a few writes and nothing is allocated.
type LRU struct {
	prev, next []int32 // per slot; the list's ends hang on the extra last slot
}

// NewLRU makes an LRU of slots slots, none of them in use.
func NewLRU(slots int) *LRU {
	l := &LRU{prev: make([]int32, slots+1), next: make([]int32, slots+1)}
	for i := range l.next {
		l.prev[i], l.next[i] = int32(i), int32(i)
	}
	return l
}

// Insert makes slot the most recent.
func (l *LRU) Insert(slot, _ int) { l.Hit(slot) }

// Hit makes slot the most recent.
func (l *LRU) Hit(slot int) {
	s, end := int32(slot), int32(len(l.next)-1)
	l.next[l.prev[s]], l.prev[l.next[s]] = l.next[s], l.prev[s]
	first := l.next[end]
	l.prev[s], l.next[s] = end, first
	l.next[end], l.prev[first] = s, s
}

// Victim is the least recent evictable slot.
func (l *LRU) Victim(evictable func(int) bool) int {
	end := int32(len(l.next) - 1)
	for s := l.prev[end]; s != end; s = l.prev[s] {
		if evictable(int(s)) {
			return int(s)
		}
	}
	return -1
}
