package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/kv"
)

// drawSequence is a sequence that was not computed yet and fits in pages.
func drawSequence(t *rapid.T, pages int) Sequence {
	longest := rapid.IntRange(1, pages*kv.PageTokens).Draw(t, "longest")
	return Sequence{Prompt: rapid.IntRange(1, longest).Draw(t, "prompt"), Pages: kv.Pages(longest)}
}

// Whatever comes, every sequence is admitted in its turn, its tokens are computed
// once and in order, the KV cache never holds too much, and no step is empty.
func TestEverySequenceEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := rapid.IntRange(1, 12).Draw(t, "pages")
		chunk := rapid.SampledFrom([]int{1, 2, 16, 512}).Draw(t, "chunk")
		var waiting, running []Sequence
		left := rapid.IntRange(1, 9).Draw(t, "sequences")
		for left+len(waiting)+len(running) > 0 {
			for left > 0 && (len(waiting)+len(running) == 0 || rapid.Bool().Draw(t, "one more")) {
				waiting, left = append(waiting, drawSequence(t, pages)), left-1
			}
			n := Admit(running, waiting, pages)
			if len(running) == 0 && n == 0 {
				t.Fatalf("got none of %v admitted to %d empty pages", waiting, pages)
			}
			running, waiting = append(running, waiting[:n]...), waiting[n:]
			checkRoom(t, running, waiting, pages)

			spans, decode := Next(nil, running, chunk)
			checkBatch(t, spans, decode, running, chunk)
			for _, s := range spans {
				running[s.Sequence].Computed += s.Tokens
			}
			running = slices.DeleteFunc(running, func(s Sequence) bool { return s.Computed >= s.Pages*kv.PageTokens })
		}
	})
}

// checkRoom sees that what runs fits, and what waits first does not.
func checkRoom(t *rapid.T, running, waiting []Sequence, pages int) {
	taken := 0
	for _, s := range running {
		taken += s.Pages
	}
	if taken > pages {
		t.Fatalf("got %d pages taken of %d by %v", taken, pages, running)
	}
	if len(waiting) > 0 && taken+waiting[0].Pages <= pages {
		t.Fatalf("got %v left waiting, want it admitted to the %d pages of %d that are free", waiting[0], pages-taken, pages)
	}
}

// checkBatch sees that a batch is what is next of the right sequences.
func checkBatch(t *rapid.T, spans []Span, decode bool, running []Sequence, chunk int) {
	if len(spans) == 0 {
		t.Fatalf("got an empty step with %v running", running)
	}
	if first := slices.IndexFunc(running, Sequence.Prefilling); first >= 0 {
		want := Span{first, min(chunk, running[first].Prompt-running[first].Computed)}
		if decode || !slices.Equal(spans, []Span{want}) {
			t.Fatalf("got %v, decoding %v, want %v of the first prompt that is not done", spans, decode, want)
		}
		return
	}
	if !decode || len(spans) != min(chunk, len(running)) {
		t.Fatalf("got %d spans, decoding %v, want the newest tokens of %d sequences, at most %d", len(spans), decode, len(running), chunk)
	}
	for i, s := range spans {
		if s != (Span{i, 1}) {
			t.Fatalf("got span %v, want one token of sequence %d", s, i)
		}
	}
}

// A step's batch takes no memory where there is some from the last.
func TestNoAllocation(t *testing.T) {
	running := []Sequence{{Prompt: 3, Computed: 5, Pages: 1}, {Prompt: 3, Computed: 3, Pages: 1}}
	batch := make([]Span, 0, 2)
	if n := testing.AllocsPerRun(10, func() { batch, _ = Next(batch[:0], running, 16); Admit(running, nil, 9) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
