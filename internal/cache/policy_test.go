package cache

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// lfuModel is an LFU's scores, all kept and searched.
type lfuModel struct {
	*LFU
	scores []float64   // [ffn]
	now    float64     // what a use counts
	in     map[int]int // neuron of each slot
}

func (m *lfuModel) where(neuron int) int {
	for s, id := range m.in {
		if id == neuron {
			return s
		}
	}
	return -1
}

func (m *lfuModel) insert(slot, neuron int) {
	m.Insert(slot, neuron)
	m.in[slot] = neuron
}

func (m *lfuModel) hit(slot int) {
	m.Hit(slot)
	m.scores[m.in[slot]] += m.now
	if m.now *= m.growth; m.now > largestUnit {
		m.now /= largestUnit
		for i := range m.scores {
			m.scores[i] /= largestUnit
		}
	}
}

// victim checks the victim among the slots of a bit mask, and returns it.
func (m *lfuModel) victim(t *rapid.T, free int) int {
	evictable := func(s int) bool {
		_, full := m.in[s]
		return full && free>>s&1 != 0
	}
	least := math.Inf(1)
	for s, id := range m.in {
		if evictable(s) {
			least = min(least, m.scores[id])
		}
	}
	got := m.Victim(evictable)
	if got < 0 && !math.IsInf(least, 1) {
		t.Fatalf("got no victim of %v by %08b, want one", m.in, free)
	}
	if got >= 0 && (!evictable(got) || m.scores[m.in[got]] > least*(1+1e-5)) {
		t.Fatalf("got victim %d of %v by %08b with score %v, want the least, %v", got, m.in, free, m.scores[m.in[got]], least)
	}
	return got
}

// LFU against a search, through whatever a cache may do: the victim is the
// evictable slot with the lowest score, and there is one if any slot can be
// emptied.
func TestLFU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ffn = 12
		n := rapid.IntRange(1, 8).Draw(t, "slots")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		before := make([]uint32, ffn)
		for i := range before {
			before[i] = r.Uint32N(9)
		}
		m := &lfuModel{LFU: NewLFU(ffn, n, before), in: map[int]int{}}
		m.unit = rapid.SampledFrom([]float64{1, largestUnit * (1 - 1e-3)}).Draw(t, "unit") // soon to be scaled down
		m.now = m.unit
		for _, v := range m.score {
			m.scores = append(m.scores, float64(v))
		}
		for range 300 {
			slot, neuron := r.IntN(n), r.IntN(ffn)
			_, full := m.in[slot]
			switch what := r.IntN(20); {
			case what == 0: // the cache's Forget: the policy is not told
				delete(m.in, slot)
			case what < 10 && full:
				m.hit(slot)
			case m.where(neuron) >= 0:
			case !full:
				m.insert(slot, neuron)
			default:
				m.released = true // pins fall when a token's work is done, and it hits
				if got := m.victim(t, r.IntN(1<<n)); got >= 0 {
					delete(m.in, got)
					m.insert(got, neuron)
				}
			}
		}
	})
}

// A neuron that is used more stays, though another was used later; but not for
// ever after its last use.
func TestLFUCountsAndForgets(t *testing.T) {
	c := NewWeightCache(10, []int{2}, func(_, n int) EvictionPolicy { return NewLFU(10, n, nil) })
	for range 20 {
		use(c, 0, 1)
	}
	use(c, 0, 2)
	use(c, 0, 3)
	if use(c, 0, 1) != 0 || use(c, 0, 3) != 0 || use(c, 0, 2) == 0 {
		t.Error("a neuron used 20 times gave way to one used once")
	}
	for i := range int32(2000) {
		use(c, 0, 2+i%2)
	}
	if use(c, 0, 2) != 0 || use(c, 0, 3) != 0 {
		t.Error("a neuron used long ago did not give way to two in use")
	}
}

// A profile stands for uses before the first one.
func TestLFUKnowsTheProfile(t *testing.T) {
	before := []uint32{0, 9, 0, 5, 0}
	c := NewWeightCache(5, []int{2}, func(_, n int) EvictionPolicy { return NewLFU(5, n, before) })
	use(c, 0, 1, 3)
	use(c, 0, 0)
	if held(c, 0, 1)[0] < 0 || held(c, 0, 3)[0] >= 0 {
		t.Error("of two used once each, the one that the profile calls hotter gave way")
	}
}

// Nothing is allocated once a policy is made.
func TestPoliciesAllocateNothing(t *testing.T) {
	for _, name := range PolicyNames() {
		policy, err := PolicyByName(name, 500, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := NewWeightCache(500, []int{100}, policy)
		r := rand.New(rand.NewPCG(1, 1))
		ids, slots, grants := make([]int32, 10), make([]int32, 10), make([]int32, 0, 10)
		if n := testing.AllocsPerRun(1000, func() {
			for i := range ids {
				ids[i] = int32(i*50 + r.IntN(50))
			}
			c.Acquire(0, ids, slots, true, grants)
			c.Release(0, slots, true)
		}); n != 0 {
			t.Errorf("%s: got %v allocations a token, want none", name, n)
		}
	}
}
