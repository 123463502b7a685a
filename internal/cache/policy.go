package cache

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
	// others are in use), or -1 to keep them all. Unless it is -1, an Insert
	// into that slot follows.
	Victim(evictable func(slot int) bool) int
}

// NewPolicy makes the policy of one layer with slots slots.
type NewPolicy func(layer, slots int) EvictionPolicy

// DefaultPolicy is the policy that misses least on recorded traces; see
// docs/cache.md.
const DefaultPolicy = "lfu"

// PolicyNames are the policies that PolicyByName knows.
func PolicyNames() []string { return []string{"lfu", "lru", "frozen"} }

// PolicyBytes is the most memory that a policy of PolicyByName takes for a
// neuron of the model that has a slot: LFU's score (4), neuron (4), heap (8),
// queue (4) and mark (1).
const PolicyBytes = 21

// PolicyByName finds a policy that comes with SparseFlow, for layers of ffn
// neurons. seen, if not nil, is how often each neuron was active before.
func PolicyByName(name string, ffn int, seen *Counts) (NewPolicy, error) {
	before := func(layer int) []uint32 {
		if seen == nil {
			return nil
		}
		return seen.Neurons[layer]
	}
	switch name {
	case "lfu":
		return func(layer, slots int) EvictionPolicy { return NewLFU(ffn, slots, before(layer)) }, nil
	case "lru":
		return func(_, slots int) EvictionPolicy { return NewLRU(slots) }, nil
	case "frozen":
		return func(int, int) EvictionPolicy { return Frozen{} }, nil
	}
	return nil, fmt.Errorf("cache: eviction policy: got %q, want one of %s", name, strings.Join(PolicyNames(), ", "))
}

// Frozen never evicts: the neurons that came first stay. The engine loads a
// profile's hottest neurons first, so with a profile it is the frozen hot set.
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
	l.unlink(slot)
	s, end := int32(slot), int32(len(l.next)-1)
	first := l.next[end]
	l.prev[s], l.next[s] = end, first
	l.next[end], l.prev[first] = s, s
}

// unlink takes slot out of the list; a slot that is not in it is linked to
// itself, and stays so.
func (l *LRU) unlink(slot int) {
	s := int32(slot)
	l.next[l.prev[s]], l.prev[l.next[s]] = l.next[s], l.prev[s]
	l.prev[s], l.next[s] = s, s
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
