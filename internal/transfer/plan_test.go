package transfer

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// Consecutive neurons are one run, up to a length.
func TestPlanRuns(t *testing.T) {
	all := seq(0, 3*maxRun+5)
	p := newPlan(0, all, all, all)
	if len(p.Runs) != 4 || len(p.Runs[0].Slots) != maxRun || len(p.Runs[3].Slots) != 5 {
		t.Errorf("got %d runs %v, want three of %d and one of 5", len(p.Runs), p.Runs, maxRun)
	}
}

// A plan reads exactly the neurons that it is to read, each into its slot, in
// runs of consecutive ids that could not be fewer.
func TestPlan(t *testing.T) {
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
		p := newPlan(3, ids, slots, which)
		if p.Layer != 3 || p.Neurons() != len(which) {
			t.Fatalf("got layer %d, %d neurons, want 3, %d", p.Layer, p.Neurons(), len(which))
		}
		n := 0
		for r, run := range p.Runs {
			if len(run.Slots) == 0 || len(run.Slots) > maxRun {
				t.Fatalf("got a run of %d, want 1 to %d", len(run.Slots), maxRun)
			}
			if r > 0 {
				last := p.Runs[r-1]
				if run.First == last.First+int32(len(last.Slots)) && len(last.Slots) < maxRun {
					t.Fatalf("runs from %d and %d could be one", last.First, run.First)
				}
			}
			for i, s := range run.Slots {
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

// Joined, a plan reads the same in as few runs as there can be, and the plan
// itself stays as it was.
func TestPlanJoined(t *testing.T) {
	all := seq(0, 3*maxRun)
	which := append(seq(0, 2*maxRun+3), seq(2*maxRun+4, 3*maxRun)...)
	slots := make([]int32, len(all))
	for i := range slots {
		slots[i] = int32(500 - i)
	}
	p := newPlan(1, all, slots, which)
	before := len(p.Runs)
	j := p.joined()
	if len(j.Runs) != 2 || j.Layer != 1 || j.Neurons() != p.Neurons() || len(p.Runs) != before || len(p.Runs[0].Slots) != maxRun {
		t.Fatalf("got %d runs of %d neurons out of %d of %d, want 2", len(j.Runs), j.Neurons(), before, p.Neurons())
	}
	for _, r := range j.Runs {
		for i, s := range r.Slots {
			if want := slots[int(r.First)+i]; s != want {
				t.Fatalf("neuron %d: got slot %d, want %d", int(r.First)+i, s, want)
			}
		}
	}
}
