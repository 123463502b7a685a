package transfer

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// readsOf is a plan to read, as runs that can be compared.
func readsOf(p planner, ids, slots, which []int32) []run {
	var r reads
	p.reads(&r, 0, ids, slots, which)
	return r.runs
}

// never joins nothing across a gap.
func never(int, int) bool { return false }

var sameRuns = cmp.AllowUnexported(run{})

// Consecutive units are one run, up to a length.
func TestRuns(t *testing.T) {
	all := seq(0, 3*maxRun+5)
	runs := readsOf(planner{join: never, maxRun: maxRun}, all, all, all)
	if len(runs) != 4 || len(runs[0].slots) != maxRun || len(runs[3].slots) != 5 {
		t.Errorf("got %d runs %v, want three of %d and one of 5", len(runs), runs, maxRun)
	}
}

// Near units are one run where that is said to be cheaper, by what is there so
// far and what lies between.
func TestJoinedRuns(t *testing.T) {
	var asked [][2]int
	p := planner{maxRun: maxRun, join: func(run, gap int) bool {
		asked = append(asked, [2]int{run, gap})
		return gap < 3
	}}
	ids := []int32{4, 5, 8, 12, 13, 15}
	runs := readsOf(p, ids, []int32{40, 50, 80, 120, 130, 150}, seq(0, 6))
	want := []run{{4, []int32{40, 50, -1, -1, 80}}, {12, []int32{120, 130, -1, 150}}}
	if diff := cmp.Diff(want, runs, sameRuns); diff != "" {
		t.Errorf("got other runs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][2]int{{2, 2}, {5, 3}, {2, 1}}, asked); diff != "" {
		t.Errorf("asked otherwise (-want +got):\n%s", diff)
	}
	p.join = func(int, int) bool { return true }
	for _, run := range readsOf(p, seq(0, 200), seq(0, 200), []int32{0, maxRun - 1, maxRun, 100, 150}) {
		if len(run.slots) > maxRun || run.slots[0] < 0 || run.slots[len(run.slots)-1] < 0 {
			t.Errorf("got a run %v, want at most %d units and wanted ones at its ends", run, maxRun)
		}
	}
}

// Units that lie side by side in an ordered pack are one read, each into its own
// slot, however far apart they are as neurons.
func TestRunsByPlace(t *testing.T) {
	places := make([]int32, testFFN)
	for i := range places {
		places[i] = int32(testFFN - 1 - i) // the last neuron first
	}
	p := planner{join: never, maxRun: maxRun, places: [][]int32{nil, places}}
	var r reads
	p.reads(&r, 1, []int32{1, 3, 4, 5, 9}, []int32{20, 21, 22, 23, 24}, []int32{0, 2, 3, 4})
	last := int32(testFFN - 1)
	want := []run{{last - 9, []int32{24}}, {last - 5, []int32{23, 22}}, {last - 1, []int32{20}}}
	if diff := cmp.Diff(want, r.runs, sameRuns); diff != "" {
		t.Errorf("got other runs (-want +got):\n%s", diff)
	}
}

// A plan reads exactly the units that it is to read, each into its slot, in runs
// that could not be fewer.
func TestReads(t *testing.T) {
	var r reads // used again and again
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.SampledFrom([]float64{0, 0.1, 0.5, 0.9, 1})
		idShare, readShare := share.Draw(t, "ids"), share.Draw(t, "read")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var ids, slots, which []int32
		for id := range rapid.Int32Range(0, 150).Draw(t, "units") {
			if rng.Float64() >= idShare {
				continue
			}
			if rng.Float64() < readShare {
				which = append(which, int32(len(ids)))
			}
			ids, slots = append(ids, id), append(slots, 1000-3*id)
		}
		most := rapid.SampledFrom([]int{1, 3, maxRun, 1000}).Draw(t, "most")
		between := rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "most between")
		p := planner{maxRun: most, join: func(_, gap int) bool { return gap <= between }}
		p.reads(&r, 3, ids, slots, which)
		n := 0
		for i, run := range r.runs {
			if len(run.slots) == 0 || len(run.slots) > most {
				t.Fatalf("got a run of %d, want 1 to %d", len(run.slots), most)
			}
			if i > 0 {
				last := r.runs[i-1]
				n := int(run.first - last.first)
				if n-len(last.slots) <= between && n < most {
					t.Fatalf("runs from %d and %d could be one", last.first, run.first)
				}
			}
			strangers := 0
			for i, s := range run.slots {
				if s < 0 {
					if strangers++; strangers > between {
						t.Fatalf("more than %d units for nobody in %v", between, run)
					}
					continue
				}
				strangers = 0
				id := run.first + int32(i)
				if id != ids[which[n]] || s != slots[which[n]] {
					t.Fatalf("unit %d goes to slot %d, want unit %d, slot %d", id, s, ids[which[n]], slots[which[n]])
				}
				n++
			}
		}
		if n != len(which) {
			t.Fatalf("got %d units, want %d", n, len(which))
		}
	})
}

// Whatever is in the cache, and however many misses it then makes room for:
// segments are all units in order, none too large; every miss has a slot; and no
// staging slot is used twice by segments that follow one another, of which one
// is computed while the other is read.
func TestSegments(t *testing.T) {
	var n NeuronTransferPlan // used again and again
	rapid.Check(t, func(t *rapid.T) {
		half := rapid.IntRange(1, 5).Draw(t, "half")
		p := planner{firstStaging: 100, half: half}
		n.Slots = nil
		for _, miss := range rapid.SliceOfN(rapid.Bool(), 0, 40).Draw(t, "misses") {
			slot := int32(len(n.Slots))
			if miss {
				slot = -1
			}
			n.Slots = append(n.Slots, slot)
		}
		n.IDs = seq(0, int32(len(n.Slots)))
		free := rapid.IntRange(0, 8).Draw(t, "free")
		most := rapid.IntRange(1, 50).Draw(t, "most")
		p.segment(&n, free, most)

		var misses []int32
		for i, s := range n.Slots {
			if s < 0 {
				misses = append(misses, int32(i))
			}
		}
		if !slices.Equal(n.Misses, misses) || len(n.Staging) != len(misses) {
			t.Fatalf("got misses %v, staging %v, want %v", n.Misses, n.Staging, misses)
		}
		// The cache has room for the free ones, and perhaps for more.
		granted := min(len(misses), free+rapid.IntRange(0, 40).Draw(t, "granted"))
		for k, i := range misses[:granted] {
			n.Slots[i] = int32(50 + k)
		}
		n.stage()
		next, nextMiss, before := 0, 0, []int32(nil)
		for s, seg := range n.Segments {
			if seg.lo != next || seg.hi <= seg.lo || seg.hi-seg.lo > most || seg.missLo != nextMiss {
				t.Fatalf("segment %d: got %+v, want 1 to %d units from %d and misses from %d", s, seg, most, next, nextMiss)
			}
			next, nextMiss = seg.hi, seg.missHi
			var staging []int32
			for _, i := range n.staged(nil, s) {
				if int(i) < seg.lo || int(i) >= seg.hi || slices.Contains(misses[:granted], i) {
					t.Fatalf("segment %d: got unit %d staged", s, i)
				}
				staging = append(staging, n.Slots[i])
			}
			all := slices.Sorted(slices.Values(slices.Concat(staging, before)))
			if len(slices.Compact(all)) != len(staging)+len(before) {
				t.Fatalf("segment %d: got staging slots %v after %v, want none twice", s, staging, before)
			}
			for _, slot := range staging {
				if slot < 100 || int(slot) >= 100+2*half {
					t.Fatalf("segment %d: got staging slot %d, want 100 to %d", s, slot, 100+2*half-1)
				}
			}
			before = staging
		}
		if next != len(n.IDs) || nextMiss != len(misses) || slices.Contains(n.Slots, -1) {
			t.Fatalf("got segments of %d units and %d misses, slots %v; want %d and %d, each with a slot", next, nextMiss, n.Slots, len(n.IDs), len(misses))
		}
	})
}

// A segment has as many units as fit, and no more misses than may need one half
// of the staging slots.
func TestSegmentsAreLong(t *testing.T) {
	n := NeuronTransferPlan{IDs: seq(0, 8), Slots: []int32{-1, 5, -1, -1, 6, -1, -1, 7}}
	p := planner{firstStaging: 100, half: 2}
	p.segment(&n, 1, 7)
	want := NeuronTransferPlan{
		IDs: n.IDs, Slots: n.Slots,
		Misses:   []int32{0, 2, 3, 5, 6},
		Staging:  []int32{-1, 100, 101, 102, 103},
		Segments: []span{{0, 5, 0, 3}, {5, 8, 3, 5}},
	}
	if diff := cmp.Diff(want, n, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("got another plan (-want +got):\n%s", diff)
	}
	n.Slots = seq(0, 8)
	p.segment(&n, 0, 7)
	if diff := cmp.Diff([]span{{0, 7, 0, 0}, {7, 8, 0, 0}}, n.Segments, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("without misses: got other segments (-want +got):\n%s", diff)
	}
}
