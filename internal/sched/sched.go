// Package sched decides what the next step computes. It is pure: it is given the
// state of all sequences and returns a decision, without I/O, clocks or state of
// its own.
//
// A step computes either a part of one sequence's prompt or the newest token of
// each sequence. Prompts come first, in the order in which their requests came.
package sched

// Sequence is what is known of a sequence.
type Sequence struct {
	Prompt   int // tokens of its prompt
	Computed int // tokens that were computed, those of the prompt first
	Pages    int // of the KV cache, that its text may come to need
}

// Prefilling reports whether a part of the prompt is still to be computed.
func (s Sequence) Prefilling() bool { return s.Computed < s.Prompt }

// Span is the next Tokens tokens of a running sequence.
type Span struct{ Sequence, Tokens int }

// Admit is how many of the waiting sequences can join the running ones, first
// come first served. The longest texts of all that run fit in a KV cache of so
// many pages together, so that none ever waits for another's pages.
func Admit(running, waiting []Sequence, pages int) (admitted int) {
	for _, s := range running {
		pages -= s.Pages
	}
	for _, s := range waiting {
		if pages -= s.Pages; pages < 0 {
			break
		}
		admitted++
	}
	return admitted
}

// Next appends to batch what a step of at most chunk tokens computes, and reports
// whether these are the newest tokens of their sequences.
func Next(batch []Span, running []Sequence, chunk int) (spans []Span, decode bool) {
	for i, s := range running {
		if s.Prefilling() {
			return append(batch, Span{i, min(chunk, s.Prompt-s.Computed)}), false
		}
	}
	for i := range min(len(running), chunk) {
		batch = append(batch, Span{i, 1})
	}
	return batch, true
}
