package cache

import "testing"

// A cleared layer holds nothing, gives out all its slots again, and leaves the
// other layers alone.
func TestClear(t *testing.T) {
	policy, err := PolicyByName("lru", 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewWeightCache(6, []int{4, 3}, policy)
	fill := func(layer int, ids ...int32) []int32 {
		slots := make([]int32, len(ids))
		grants := c.Acquire(layer, ids, slots, true, nil)
		c.Release(layer, slots, true)
		return grants
	}
	fill(0, 1, 3, 5)
	fill(1, 0, 2, 4)
	c.Clear(0)
	if got := fill(1, 0, 2, 4); len(got) != 0 {
		t.Errorf("the other layer: got %d neurons missing, want none", len(got))
	}
	if got := fill(0, 1, 3, 4, 5); len(got) != 4 {
		t.Errorf("got %d of 4 neurons missing after clearing, want all", len(got))
	}
	if got := fill(0, 0, 1, 3, 4); len(got) != 1 {
		t.Errorf("got %d neurons missing, want 1: the other three stay", len(got))
	}
}
