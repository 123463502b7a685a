package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// Setup is what a run and the process of each of its modes know.
type Setup struct {
	Model     string // as the user calls it
	Pack      string // path of its pack
	CacheDir  string
	Strategy  config.OffloadStrategy // of mode sparse in a run, of the mode in a job
	Tests     []Test
	Reps      int
	AllReps   bool    // though they take long
	Warm      int     // tokens decoded before the first repetition, to fill the cache
	Routed    bool    // a router chooses the units: every mode is exact
	IDs       []int32 // the text, TextTokens long at least
	Limits    Limits
	SimDisk   *disk.SimSpec // the disk to simulate, nil for the one there is
	Trace     string        // if not empty, where to write which neurons the sparse mode's text wants
	TraceText string        // what that text is
	Expect    *Proof        // what the output must be, nil: as the first mode's
}

// Job is what one process measures: one mode of one model.
type Job struct {
	Setup
	Mode Mode
	// RingSlots is the staging slots of naive, which holds a layer's whole
	// rest; 0: as many as are sensible.
	RingSlots int
	// Started is when the process was started.
	Started time.Time
}

// Proof is what shows that a mode computes the model.
type Proof struct {
	// LogitsSHA256 is of the exact logits of the first checkTokens tokens.
	LogitsSHA256 string `json:"logits_sha256"`
	// Likeliest is the likeliest token after each of these of the text, for
	// comparison with another engine; BOS the token before the text, -1 for none.
	Likeliest []int32 `json:"likeliest"`
	BOS       int32   `json:"bos"`
	// Greedy is how an exact mode goes on after these tokens.
	Greedy []int32 `json:"greedy"`
}

// The tokens that a mode is checked on, and how many follow greedily.
const (
	checkTokens  = 32
	greedyTokens = 8
	// auditTokens is what the cost of leaving neurons out is measured on.
	auditTokens = 128
	// slowTokens is what naive decodes in place of more: enough for a
	// speed that does not change, and at seconds a token all that is bearable.
	slowTokens = 8
	// firstTokens is the prompt that the first token of a new process follows.
	firstTokens = 8
	// warmPiece is how many tokens that warm the cache are decoded at a time.
	warmPiece = 32
)

// WarmTokens is how many tokens warm the cache unless told otherwise, and MostWarm
// the most.
const (
	WarmTokens = 128
	MostWarm   = 1 << 16
)

// MostReps is the most repetitions.
const MostReps = 100

// LeastContext is the shortest context that has room for the checks.
const LeastContext = 2 * greedyTokens

// check reports what of a job could not be carried out.
func (j *Job) check() error {
	switch {
	case j.Reps < 1 || j.Reps > MostReps:
		return fmt.Errorf("bench: job: got %d repetitions, want 1 to %d", j.Reps, MostReps)
	case j.Warm < 0 || j.Warm > MostWarm:
		return fmt.Errorf("bench: job: got %d tokens to warm up, want 0 to %d", j.Warm, MostWarm)
	case len(j.IDs) < j.TextTokens():
		return fmt.Errorf("bench: job: got a text of %d tokens, want %d", len(j.IDs), j.TextTokens())
	case j.Strategy.Context < LeastContext:
		return fmt.Errorf("bench: job: got a context of %d tokens, want at least %d", j.Strategy.Context, LeastContext)
	}
	return nil
}

// TextTokens is how long a text the jobs need.
func (s *Setup) TextTokens() int {
	return s.timedFrom(s.Reps) + 1
}

// timedFrom is where the part of the text begins that a repetition takes.
func (s *Setup) timedFrom(rep int) int {
	return auditTokens + s.Warm + rep*(longest(s.Tests)+1)
}

// exact reports whether a mode computes the exact model.
func (s *Setup) exact(m Mode) bool { return s.Routed || m.exact() }

// tokens is how many tokens of a test are timed.
func (j *Job) tokens(t Test) int {
	if j.Mode == Naive {
		return min(t.N, slowTokens)
	}
	return t.N
}

// tests is what is timed in this mode: naive decodes only.
func (j *Job) tests() []Test {
	if j.Mode != Naive {
		return j.Tests
	}
	return slices.DeleteFunc(slices.Clone(j.Tests), func(t Test) bool { return t.Prompt })
}
