package cache

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cacheModel is what is true of a cache, kept the plain way: by neuron.
type cacheModel struct {
	c      *WeightCache
	ffn    int
	base   []int32 // [layers] first slot
	layers []layerModel
}

type layerModel struct {
	slotOf map[int32]int32 // of neurons with a slot
	pins   map[int32]int   // of slots
	held   [][]int32       // what each Acquire pinned and nobody released yet
}

func newCacheModel(t *rapid.T, policy NewPolicy) *cacheModel {
	m := &cacheModel{ffn: rapid.IntRange(1, 12).Draw(t, "ffn")}
	slots := rapid.SliceOfN(rapid.IntRange(0, m.ffn), 1, 3).Draw(t, "slots")
	m.c = NewWeightCache(m.ffn, slots, policy)
	next := int32(0)
	for _, n := range slots {
		m.base = append(m.base, next)
		next += int32(n)
		m.layers = append(m.layers, layerModel{slotOf: map[int32]int32{}, pins: map[int32]int{}})
	}
	return m
}

func (m *cacheModel) layer(t *rapid.T) int {
	return rapid.IntRange(0, len(m.layers)-1).Draw(t, "layer")
}

// occupied is the slots that are not free: with a neuron, or pinned.
func (m *cacheModel) occupied(layer int) int {
	set := map[int32]bool{}
	for _, s := range m.layers[layer].slotOf {
		set[s] = true
	}
	for s, n := range m.layers[layer].pins {
		if n > 0 {
			set[s] = true
		}
	}
	return len(set)
}

func (m *cacheModel) acquire(t *rapid.T) {
	l := m.layer(t)
	lm := &m.layers[l]
	ids := distinct(t, m.ffn)
	evict := rapid.Bool().Draw(t, "evict")
	slots := make([]int32, len(ids))
	before := lm.slotOf
	free := m.c.Slots(l) - m.occupied(l)
	grants := m.c.Acquire(l, ids, slots, evict, []int32{77})
	if grants[0] != 77 || !slices.IsSorted(grants[1:]) {
		t.Fatalf("grants: got %v, want 77 and then ascending indices", grants)
	}
	granted := map[int]bool{}
	for _, g := range grants[1:] {
		granted[int(g)] = true
	}
	lm.slotOf = map[int32]int32{}
	for id, s := range before {
		lm.slotOf[id] = s
	}
	for i, id := range ids {
		s, had := before[id]
		switch {
		case had && (slots[i] != s || granted[i]):
			t.Fatalf("neuron %d in slot %d: got slot %d, granted %v", id, s, slots[i], granted[i])
		case !had && granted[i] != (slots[i] >= 0):
			t.Fatalf("neuron %d without a slot: got slot %d, granted %v", id, slots[i], granted[i])
		case granted[i]:
			if slots[i] < m.base[l] || slots[i] >= m.base[l]+int32(m.c.Slots(l)) {
				t.Fatalf("got slot %d, want one of layer %d, %d from %d on", slots[i], l, m.c.Slots(l), m.base[l])
			}
			if lm.pins[slots[i]] > 0 {
				t.Fatalf("got slot %d, which is pinned", slots[i])
			}
			for other, s := range before {
				if s == slots[i] {
					if !evict {
						t.Fatalf("neuron %d was evicted from slot %d without evict", other, s)
					}
					delete(lm.slotOf, other)
				}
			}
			lm.slotOf[id] = slots[i]
		}
		if slots[i] >= 0 {
			lm.pins[slots[i]]++
		}
	}
	missing := 0
	for _, id := range ids {
		if _, ok := before[id]; !ok {
			missing++
		}
	}
	if want := min(missing, free); len(granted) < want || !evict && len(granted) != want {
		t.Fatalf("got %d grants of %d missing with %d slots free, evict %v", len(granted), missing, free, evict)
	}
	lm.held = append(lm.held, slots)
}

func (m *cacheModel) release(t *rapid.T) {
	l := m.layer(t)
	lm := &m.layers[l]
	if len(lm.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(lm.held)-1).Draw(t, "held")
	slots := lm.held[i]
	lm.held = slices.Delete(lm.held, i, i+1)
	for _, s := range slots {
		if s >= 0 {
			lm.pins[s]--
		}
	}
	total := m.base[len(m.base)-1] + int32(m.c.Slots(len(m.base)-1))
	m.c.Release(l, append(slots, -1, total, total+5), rapid.Bool().Draw(t, "used"))
}

func (m *cacheModel) forget(t *rapid.T) {
	l := m.layer(t)
	lm := &m.layers[l]
	for s := range int32(m.c.Slots(l)) {
		s += m.base[l]
		if lm.pins[s] == 0 || !rapid.Bool().Draw(t, "forget") {
			continue
		}
		m.c.Forget(l, s)
		for id, at := range lm.slotOf {
			if at == s {
				delete(lm.slotOf, id)
			}
		}
	}
}

func (m *cacheModel) order(t *rapid.T) {
	l := m.layer(t)
	lm := &m.layers[l]
	complete := len(lm.slotOf) == m.ffn
	for _, n := range lm.pins {
		complete = complete && n == 0
	}
	first, was := m.c.Order(l)
	if complete != (was != nil) {
		t.Fatalf("layer %d, complete and without pins: %v: got %v", l, complete, was)
	}
	for id, s := range was {
		if want := lm.slotOf[int32(id)]; int32(first)+s != want || int32(first) != m.base[l] {
			t.Fatalf("layer %d, neuron %d: was in slot %d after %d, want %d", l, id, s, first, want)
		}
		lm.slotOf[int32(id)] = m.base[l] + int32(id)
	}
}

// check compares the cache's tables with the model.
func (m *cacheModel) check(t *rapid.T) {
	for l := range m.layers {
		lc, lm := &m.c.layers[l], &m.layers[l]
		for id, s := range lc.slotOf {
			want, ok := lm.slotOf[int32(id)]
			if ok != (s >= 0) || ok && want != s+lc.base {
				t.Fatalf("layer %d, neuron %d: got slot %d, want %d (%v)", l, id, s, want, ok)
			}
			if s >= 0 && lc.idOf[s] != int32(id) {
				t.Fatalf("layer %d, neuron %d in slot %d, which holds neuron %d", l, id, s, lc.idOf[s])
			}
		}
		for s, id := range lc.idOf {
			if id >= 0 && lc.slotOf[id] != int32(s) {
				t.Fatalf("layer %d, slot %d holds neuron %d, which is in slot %d", l, s, id, lc.slotOf[id])
			}
			free := slices.Contains(lc.free, int32(s))
			if want := id < 0 && lc.pins[s] == 0; free != want {
				t.Fatalf("layer %d, slot %d with neuron %d and %d pins: free %v", l, s, id, lc.pins[s], free)
			}
			if want := lm.pins[int32(s)+lc.base]; int(lc.pins[s]) != want {
				t.Fatalf("layer %d, slot %d: got %d pins, want %d", l, s, lc.pins[s], want)
			}
		}
	}
}

// distinct draws a set of neurons in any order.
func distinct(t *rapid.T, ffn int) []int32 {
	return rapid.SliceOfNDistinct(rapid.Int32Range(0, int32(ffn-1)), 0, ffn, rapid.ID[int32]).Draw(t, "ids")
}

// Whatever is asked of a cache, and whatever the policy: a slot has at most one
// neuron and a neuron at most one slot, of its layer; pinned slots stay; grants
// are the neurons without a slot for which there is one; what was forgotten is
// free once released.
func TestCache(t *testing.T) {
	for _, name := range PolicyNames() {
		policy, err := PolicyByName(name, 12, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := newCacheModel(t, policy)
				t.Repeat(map[string]func(*rapid.T){"acquire": m.acquire, "release": m.release, "forget": m.forget, "order": m.order, "": m.check})
			})
		})
	}
}

// LRU against a list that is searched from end to end.
func TestLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "slots")
		lru := NewLRU(n)
		var order []int // the least recent first
		touch := func(slot int) {
			order = append(slices.DeleteFunc(order, func(s int) bool { return s == slot }), slot)
		}
		slot := rapid.IntRange(0, max(0, n-1))
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				if n > 0 {
					s := slot.Draw(t, "slot")
					lru.Insert(s, rapid.Int().Draw(t, "neuron"))
					touch(s)
				}
			},
			"hit": func(t *rapid.T) {
				if n > 0 {
					s := slot.Draw(t, "slot")
					lru.Hit(s)
					touch(s)
				}
			},
			"victim": func(t *rapid.T) {
				evictable := rapid.Uint8().Draw(t, "evictable")
				want := -1
				for _, s := range order {
					if evictable>>s&1 != 0 {
						want = s
						break
					}
				}
				if got := lru.Victim(func(s int) bool { return evictable>>s&1 != 0 }); got != want {
					t.Fatalf("victim among %08b of %v: got %d, want %d", evictable, order, got, want)
				}
			},
		})
	})
}

// use acquires and releases neurons, as a token that wants them does, and
// returns how many were missing.
func use(c *WeightCache, layer int, ids ...int32) int {
	slots := make([]int32, len(ids))
	missing := len(c.Acquire(layer, ids, slots, true, nil))
	c.Release(layer, slots, true)
	return missing
}

// held is the slots that neurons have.
func held(c *WeightCache, layer int, ids ...int32) []int32 {
	slots := make([]int32, len(ids))
	c.Acquire(layer, ids, slots, false, nil)
	c.Release(layer, slots, false)
	return slots
}

// LRU evicts the neurons unused for longest, and a layer's scan, however long,
// leaves the other layers alone.
func TestCacheLRU(t *testing.T) {
	policy, err := PolicyByName("lru", 12, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewWeightCache(100, []int{4, 4}, policy)
	use(c, 1, 1, 2, 3, 4)
	use(c, 0, 10, 11, 12, 13)
	use(c, 0, 10, 12)
	use(c, 0, 20, 21) // in place of 11 and 13
	if n := use(c, 0, 10, 12, 20, 21); n != 0 {
		t.Errorf("the most recent four: got %d missing, want 0", n)
	}
	slots := make([]int32, 100)
	c.Acquire(0, []int32{10, 12}, slots[:2], true, nil)
	c.Release(0, slots[:2], false) // looked at, not used
	if n := use(c, 0, 30, 31); n != 2 || countOf(held(c, 0, 10, 12), -1) != 2 {
		t.Errorf("10 and 12 are the least recent, whoever looks at them: got slots %v", held(c, 0, 10, 12))
	}
	use(c, 0, 10, 12)
	if n := use(c, 0, 11, 13); n != 2 {
		t.Errorf("the least recent two: got %d missing, want 2", n)
	}
	for i := range int32(100) {
		use(c, 0, i, (i+1)%100, (i+2)%100)
	}
	all := make([]int32, 100)
	for i := range all {
		all[i] = int32(i)
	}
	grants := c.Acquire(0, all, slots, true, nil)
	hits := 100 - len(grants) - countOf(slots, -1)
	if hits != 4 || len(grants) != 0 {
		t.Errorf("a set larger than the cache: got %d hits and %d grants, want the 4 hits alone: they are pinned", hits, len(grants))
	}
	c.Release(0, slots, true)
	if n := use(c, 0, 50, 51, 52, 53); n != 4 {
		t.Errorf("after the scan: got %d missing, want 4", n)
	}
	if n := use(c, 0, 50, 51, 52, 53); n != 0 {
		t.Errorf("the newest four: got %d missing, want 0", n)
	}
	if n := use(c, 1, 1, 2, 3, 4); n != 0 {
		t.Errorf("the other layer: got %d missing, want 0", n)
	}
}

func countOf(list []int32, v int32) (n int) {
	for _, e := range list {
		if e == v {
			n++
		}
	}
	return n
}

// A frozen cache keeps what came first.
func TestCacheFrozen(t *testing.T) {
	policy, err := PolicyByName("frozen", 12, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewWeightCache(10, []int{3}, policy)
	use(c, 0, 5, 6)
	for i := range int32(10) {
		use(c, 0, i) // 0 takes the last free slot
	}
	slots := make([]int32, 4)
	if grants := c.Acquire(0, []int32{5, 6, 0, 9}, slots, true, nil); len(grants) != 0 || countOf(slots, -1) != 1 || slots[3] != -1 {
		t.Errorf("got slots %v and grants %v, want slots for all but the last", slots, grants)
	}
}

func TestPolicyByName(t *testing.T) {
	_, err := PolicyByName("clock", 12, nil)
	wantIn(t, err, "cache: eviction policy", "clock", "lru", "frozen")
}

// stubborn wants the same slot emptied whatever is pinned.
type stubborn struct {
	Frozen
	slot int
}

func (s stubborn) Victim(func(int) bool) int { return s.slot }

// A policy or a caller that breaks the rules is found at once.
func TestCacheRules(t *testing.T) {
	for _, victim := range []int{0, 1, 2} { // pinned, pinned, not there
		t.Run(fmt.Sprintf("victim %d", victim), func(t *testing.T) {
			c := NewWeightCache(10, []int{2}, func(int, int) EvictionPolicy { return stubborn{slot: victim} })
			c.Acquire(0, []int32{1, 2}, make([]int32, 2), true, nil)
			wantPanic(t, func() { c.Acquire(0, []int32{3}, make([]int32, 1), true, nil) })
		})
	}
	c := NewWeightCache(10, []int{2}, func(int, int) EvictionPolicy { return Frozen{} })
	slots := make([]int32, 1)
	c.Acquire(0, []int32{1}, slots, true, nil)
	c.Release(0, slots, false)
	wantPanic(t, func() { c.Release(0, slots, false) })
}

func wantPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	f()
}

// wantIn reports an error that lacks one of the words.
func wantIn(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got error %v, want %q in it", err, w)
		}
	}
}
