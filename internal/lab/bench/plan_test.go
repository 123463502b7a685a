package bench

import (
	"math"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
)

// What a plan expects a token to move is what one is counted to move, within a
// quarter, in every mode and at every budget, of a model that nothing was fitted to.
func TestPlannedBytes(t *testing.T) {
	o := tinyOptions(t, "works")
	o.Tests = []Test{{false, 96}}
	tok, err := sparseflow.LoadTokenizer(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ForcedText(o.Profile, tok, o.TextTokens())
	if err != nil {
		t.Fatal(err)
	}
	o.IDs = text.IDs
	modes, shares := []config.Mode{config.Predicted, config.Gate}, []float64{0.3, 0.58, 1}
	if testing.Short() {
		modes, shares = modes[:1], shares[1:2]
	}
	for _, mode := range modes {
		for _, share := range shares {
			o.Strategy.Mode, o.Strategy.Budget = mode, config.Budget{Share: share}
			p, err := o.plan(Sparse)
			if err != nil {
				t.Fatal(err)
			}
			rep, err := Run(t.Context(), o, []Mode{Sparse})
			if err != nil {
				t.Fatal(err)
			}
			row, plan := rep.Rows[0], p.place.Token
			// Of hardly any reads a quarter is nothing.
			few := 0.01 * float64(row.FastBytes)
			if got, want := float64(plan.FastBytes), float64(row.FastBytes); math.Abs(got-want) > want/4 {
				t.Errorf("%s, budget %v: got %.0f fast bytes a token planned, want %.0f as counted", mode, share, got, want)
			}
			if got, want := float64(plan.SlowBytes), float64(row.SlowBytes); math.Abs(got-want) > max(want/4, few) {
				t.Errorf("%s, budget %v: got %.0f slow bytes a token planned, want %.0f as counted", mode, share, got, want)
			}
			t.Logf("%s, budget %v: planned %d and %d bytes, %.0f misses, %.0f reads; counted %d and %d, %.0f, %.0f", mode, share,
				plan.FastBytes, plan.SlowBytes, plan.Misses, plan.Reads, row.FastBytes, row.SlowBytes, row.Misses, row.Reads)
		}
	}
}
