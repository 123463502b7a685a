package transfer

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// newPlan is a new plan.
func newPlan(layer int, ids, slots, which []int32, joins func(run, gap, next int) bool) *NeuronTransferPlan {
	var p NeuronTransferPlan
	p.make(layer, ids, slots, which, maxRun, joins)
	return &p
}

// never joins nothing across a gap.
func never(int, int, int) bool { return false }

// Consecutive neurons are one run, up to a length.
func TestPlanRuns(t *testing.T) {
	all := seq(0, 3*maxRun+5)
	p := newPlan(0, all, all, all, never)
	if len(p.Runs) != 4 || len(p.Runs[0].Slots) != maxRun || len(p.Runs[3].Slots) != 5 {
		t.Errorf("got %d runs %v, want three of %d and one of 5", len(p.Runs), p.Runs, maxRun)
	}
}

// Near neurons are one run where that is said to be cheaper, by what is there
// so far and what lies between.
func TestPlanJoins(t *testing.T) {
	var asked [][3]int
	joins := func(run, gap, next int) bool {
		asked = append(asked, [3]int{run, gap, next})
		return gap < 3
	}
	ids := []int32{4, 5, 8, 12, 13, 15}
	p := newPlan(0, ids, []int32{40, 50, 80, 120, 130, 150}, seq(0, 6), joins)
	want := []Run{{4, []int32{40, 50, -1, -1, 80}}, {12, []int32{120, 130, -1, 150}}}
	if diff := cmp.Diff(want, p.Runs); diff != "" {
		t.Errorf("got other runs (-want +got):\n%s", diff)
	}
	if p.Neurons() != 6 {
		t.Errorf("got %d neurons, want 6", p.Neurons())
	}
	if diff := cmp.Diff([][3]int{{2, 2, 1}, {5, 3, 1}, {2, 1, 1}}, asked); diff != "" {
		t.Errorf("asked otherwise (-want +got):\n%s", diff)
	}
	always := func(int, int, int) bool { return true }
	for _, run := range newPlan(0, seq(0, 200), seq(0, 200), []int32{0, maxRun - 1, maxRun, 100, 150}, always).Runs {
		if len(run.Slots) > maxRun || run.Slots[0] < 0 || run.Slots[len(run.Slots)-1] < 0 {
			t.Errorf("got a run %v, want at most %d neurons and wanted ones at its ends", run, maxRun)
		}
	}
}

// A plan reads exactly the neurons that it is to read, each into its slot, in
// runs that could not be fewer.
func TestPlan(t *testing.T) {
	var p NeuronTransferPlan // used again and again
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.SampledFrom([]float64{0, 0.1, 0.5, 0.9, 1})
		idShare, readShare := share.Draw(t, "ids"), share.Draw(t, "read")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var ids, slots, which []int32
		for id := range rapid.Int32Range(0, 150).Draw(t, "ffn") {
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
		p.make(3, ids, slots, which, most, func(_, gap, _ int) bool { return gap <= between })
		if p.Layer != 3 || p.Neurons() != len(which) {
			t.Fatalf("got layer %d, %d neurons, want 3, %d", p.Layer, p.Neurons(), len(which))
		}
		n := 0
		for r, run := range p.Runs {
			if len(run.Slots) == 0 || len(run.Slots) > most {
				t.Fatalf("got a run of %d, want 1 to %d", len(run.Slots), most)
			}
			if r > 0 {
				last := p.Runs[r-1]
				n := int(run.First - last.First)
				if n-len(last.Slots) <= between && n < most {
					t.Fatalf("runs from %d and %d could be one", last.First, run.First)
				}
			}
			strangers := 0
			for i, s := range run.Slots {
				if s < 0 {
					if strangers++; strangers > between {
						t.Fatalf("more than %d neurons for nobody in %v", between, run)
					}
					continue
				}
				strangers = 0
				id := run.First + int32(i)
				if id != ids[which[n]] || s != slots[which[n]] {
					t.Fatalf("neuron %d goes to slot %d, want neuron %d, slot %d", id, s, ids[which[n]], slots[which[n]])
				}
				n++
			}
		}
		if n != len(which) {
			t.Fatalf("got %d neurons, want %d", n, len(which))
		}
	})
}
