package sparseflow_test

import (
	"errors"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// TestPlan wants the plan that Open follows, and both a plan and an error
// where the budget is too small.
func TestPlan(t *testing.T) {
	cache := sparseflow.WithCacheDir(t.TempDir())
	s := sparseflow.DefaultStrategy()
	s.Budget = sparseflow.Budget{Share: 0.58}
	planned, err := sparseflow.Plan("tiny", sparseflow.WithStrategy(s))
	if err != nil {
		t.Fatal(err)
	}
	var shown *sparseflow.Placement
	eng, err := sparseflow.Open(t.Context(), "tiny", cache, sparseflow.WithStrategy(s),
		sparseflow.WithPlacement(func(p *sparseflow.Placement) { shown = p }))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	if shown == nil || shown != eng.Placement() {
		t.Errorf("got placement %p shown, want that of the engine, %p", shown, eng.Placement())
	}
	if got, want := eng.Placement().Process, planned.Process; got != want || !planned.Fits {
		t.Errorf("got %+v, want %+v as planned", got, want)
	}

	s.Budget = sparseflow.Budget{Bytes: planned.Process.MinimumBytes - 1}
	small, err := sparseflow.Plan("tiny", sparseflow.WithStrategy(s))
	var budget *sparseflow.BudgetError
	if !errors.As(err, &budget) || small == nil || small.Fits {
		t.Errorf("got %+v, %v, want a plan that does not fit and a BudgetError", small, err)
	}
	if _, err := sparseflow.Open(t.Context(), "tiny", cache, sparseflow.WithStrategy(s)); !errors.As(err, &budget) {
		t.Errorf("got %v, want a BudgetError", err)
	}
}

// What a sidecar brings stays on the heap, which has room for it and for the
// collector's tenth beside what is mapped: without, that runs all the time.
func TestPlanLeavesRoomOnTheHeap(t *testing.T) {
	s := sparseflow.DefaultStrategy()
	s.Budget = sparseflow.Budget{Share: 1.2}
	onHeap := func(mode sparseflow.Mode) int64 {
		s.Mode = mode
		p, err := sparseflow.Plan("tiny", sparseflow.WithStrategy(s))
		if err != nil {
			t.Fatal(err)
		}
		heap := p.Tiers[0].Bytes - p.MemoryBytes - disk.QueueBytes
		for _, it := range p.Tiers[0].Items {
			if it.What == "runtime and page tables" || it.What == "tables and tokenizer" {
				heap -= it.Bytes
			}
		}
		return heap
	}
	// What activations are rounded in is on the heap in every mode.
	gate, predicted := onHeap(sparseflow.Gate), onHeap(sparseflow.Predicted)
	const codes = 2 * 1024 // two layers have codes of their own
	want := codes * int64(kernel.Sketch3Bytes(256)) / 10 * 11
	if d := predicted - gate - want; gate <= 0 || d < -64 || d > 64 { // pieces begin on cache lines
		t.Errorf("got %d bytes that are not mapped beside tables and runtime in mode gate and %d more in mode predicted, want %d more", gate, predicted-gate, want)
	}
}

// TestOnToken wants every token told as it comes.
func TestOnToken(t *testing.T) {
	eng, err := sparseflow.Open(t.Context(), "tiny", sparseflow.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	var told []int32
	res, err := eng.Generate(t.Context(), sparseflow.Request{Prompt: "Once", MaxTokens: 5, OnToken: func(id int32) { told = append(told, id) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 5 || len(res.IDs) != 5 {
		t.Fatalf("got %v told, %v returned, want 5 tokens", told, res.IDs)
	}
	for i, id := range res.IDs {
		if told[i] != id {
			t.Errorf("token %d: got %d told, want %d", i, told[i], id)
		}
	}
}
