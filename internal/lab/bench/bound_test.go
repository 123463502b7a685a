package bench

import "testing"

// The bound is the longer of what memory and disk need, each at the faster of its
// rates.
func TestBound(t *testing.T) {
	before, after := &Limits{MemoryGBs: 10, RandomGBs: 1, SequentialGBs: 4}, &Limits{MemoryGBs: 8, RandomGBs: 2, SequentialGBs: 3}
	for _, c := range []struct {
		fast, missed, streamed int64
		tokS                   float64
		bound, share           float64
		prompt                 bool
	}{
		{fast: 2e9, missed: 1e8, tokS: 4, bound: 5, share: 0.8},
		{fast: 2e9, missed: 1e9, tokS: 1, bound: 2, share: 0.5},
		{fast: 2e9, missed: 1e9, tokS: 100, prompt: true},
		{fast: 2e9, missed: 1e9, streamed: 2e9, tokS: 1, bound: 1, share: 1},
		{tokS: 3},
	} {
		r := Row{Test: Test{c.prompt, 8}, TokS: c.tokS, FastBytes: c.fast, MissedBytes: c.missed, Streamed: c.streamed}
		r.bound(before, after)
		if r.BoundTokS != c.bound || r.ShareOfBound != c.share || r.BoundMemoryGBs != 10 || r.BoundDiskGBs != 2 {
			t.Errorf("%+v: got %+v", c, r)
		}
	}
}
