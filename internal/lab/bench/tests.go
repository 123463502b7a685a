package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/suggest"
)

// Mode is what a row runs.
type Mode string

// The modes, and the steps of the ablation between Naive and Sparse.
const (
	Sparse   Mode = "sparse"
	Resident Mode = "resident"
	Dense    Mode = "dense"
	Naive    Mode = "naive"

	// AblatePredictor computes only predicted neurons; as many as fit stay for
	// good, a missing one is two reads, and nothing overlaps.
	AblatePredictor Mode = "+predictor"
	// AblateCache keeps those in memory that the eviction policy chooses.
	AblateCache Mode = "+cache"
	// AblateBundles reads a neuron in one piece.
	AblateBundles Mode = "+bundles"
	// AblateAsync reads while it computes: this is Sparse.
	AblateAsync Mode = "+async"
)

// Modes are the modes that a user can ask for, in the order of a run. The
// first gives the output that the others are checked against.
func Modes() []Mode { return []Mode{Dense, Resident, Sparse, Naive} }

// Ablation is the modes that add one part of the system each.
func Ablation() []Mode {
	return []Mode{Naive, AblatePredictor, AblateCache, AblateBundles, AblateAsync}
}

// exact reports whether a mode computes every neuron.
func (m Mode) exact() bool { return m == Dense || m == Naive }

// Budgeted reports whether a mode runs under the budget.
func (m Mode) Budgeted() bool { return m != Dense && m != Resident }

// ParseModes reads a list with commas. It keeps the order of Modes.
func ParseModes(s string) ([]Mode, error) {
	var names []string
	for _, m := range Modes() {
		names = append(names, string(m))
	}
	var asked []string
	for _, w := range strings.Split(s, ",") {
		w = strings.ToLower(strings.TrimSpace(w))
		if !slices.Contains(names, w) {
			return nil, fmt.Errorf("got mode %q, want some of %s%s", w, strings.Join(names, ","), hint(w, names))
		}
		asked = append(asked, w)
	}
	return slices.DeleteFunc(Modes(), func(m Mode) bool { return !slices.Contains(asked, string(m)) }), nil
}

func hint(word string, names []string) string {
	if name, ok := suggest.Match(word, names); ok {
		return fmt.Sprintf("; did you mean %s?", name)
	}
	return ""
}

// Test is one thing to time.
type Test struct {
	Prompt bool // ppN: a prompt of N tokens; else tgN: N tokens decoded
	N      int
}

func (t Test) String() string {
	if t.Prompt {
		return "pp" + strconv.Itoa(t.N)
	}
	return "tg" + strconv.Itoa(t.N)
}

// Context is the longest sequence that the test needs.
func (t Test) Context() int {
	if t.Prompt {
		return t.N
	}
	return t.N + 2 // begin of text, and the token that ends the first step
}

// mostTokens is beyond any model's context.
const mostTokens = 1 << 20

// ParseTests reads a list such as "pp512,tg128".
func ParseTests(s string) (tests []Test, err error) {
	for _, w := range strings.Split(s, ",") {
		w = strings.ToLower(strings.TrimSpace(w))
		kind := w[:min(2, len(w))]
		n, err := strconv.Atoi(w[len(kind):])
		if kind != "pp" && kind != "tg" || err != nil || n < 1 || n > mostTokens {
			return nil, fmt.Errorf("got test %q, want ppN (a prompt of N tokens) or tgN (N tokens decoded), as in pp512,tg128%s", w, hint(w, []string{"pp512", "tg128"}))
		}
		t := Test{kind == "pp", n}
		if !slices.Contains(tests, t) {
			tests = append(tests, t)
		}
	}
	return tests, nil
}

// MarshalText is the test's name.
func (t Test) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the test's name.
func (t *Test) UnmarshalText(b []byte) error {
	ts, err := ParseTests(string(b))
	if err == nil {
		*t = ts[0]
	}
	return err
}
