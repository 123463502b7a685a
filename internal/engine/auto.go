package engine

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Auto is where mode auto gets its choice from, and where it keeps it. Output
// depends on the choice, so a choice that was made once for a model, machine
// and placement holds until somebody deletes it.
type Auto struct {
	// Known is the choice that was stored under a key, false if there is none.
	Known func(key string) (Choice, bool)
	// Learned is told a new choice, to store it.
	Learned func(key string, c Choice)
}

// Choice is what auto chose, and why: what a token's MLP took in each mode,
// summed over the layers that were measured.
type Choice struct {
	Modes     string  `json:"modes"`             // a letter for each layer: p, g or d
	Prompts   string  `json:"prompts,omitempty"` // g or d: of all layers for prompts; empty: as in decoding
	Measured  int     `json:"measured_layers"`
	Predicted float64 `json:"predicted_us"` // microseconds
	Gate      float64 `json:"gate_us"`
	Dense     float64 `json:"dense_us"`
}

// letters are the modes of a Choice. It is not changed.
var letters = map[byte]config.Mode{'p': config.Predicted, 'g': config.Gate, 'd': config.Dense}

// valid reports whether c is a choice for a model of layers layers.
func (c Choice) valid(layers int) bool {
	for i := range len(c.Modes) {
		if _, ok := letters[c.Modes[i]]; !ok {
			return false
		}
	}
	return len(c.Modes) == layers && (c.Prompts == "" || c.Prompts == "g" || c.Prompts == "d")
}

// Summary says how many layers are in which mode, and which one prompts are
// computed in if it is another: "predicted (prompts: gate)".
func (c Choice) Summary() string {
	s := describeModes(func(l int) config.Mode { return letters[c.Modes[l]] }, len(c.Modes))
	if c.Prompts != "" {
		s += fmt.Sprintf(" (prompts: %s)", letters[c.Prompts[0]])
	}
	return s
}

// Exact reports whether no layer is predicted.
func (c Choice) Exact() bool { return !strings.Contains(c.Modes, "p") }

// String is Summary and what was measured.
func (c Choice) String() string {
	s := c.Summary()
	switch {
	case c.Measured == 0 && c.Predicted > 0:
		s += fmt.Sprintf(" (a token: %.0f us with predictors, %.0f us without)", c.Predicted, c.Gate)
	case c.Measured > 0:
		s += fmt.Sprintf(" (%d layers measured: predicted %.0f us, gate %.0f us, dense %.0f us)", c.Measured, c.Predicted, c.Gate, c.Dense)
	}
	return s
}

// describeModes says how many layers are in which mode: "5 predicted, 1 gate".
func describeModes(mode func(layer int) config.Mode, layers int) string {
	var parts []string
	for _, m := range []config.Mode{config.Predicted, config.Gate, config.Dense} {
		n := 0
		for l := range layers {
			if mode(l) == m {
				n++
			}
		}
		switch n {
		case 0:
		case layers:
			return string(m)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, m))
		}
	}
	return strings.Join(parts, ", ")
}

// AutoKey names what a choice of auto is good for: the machine, the kernels,
// threads, where everything lives, and how much quality may be lost.
func AutoKey(l *pack.Layout, p *placement.Placement, o Options) string {
	k := kernel.Best()
	if o.Kernels != nil {
		k = *o.Kernels
	}
	h := fnv.New64a()
	fmt.Fprint(h, "with prompts", l.AttnDType(), l.MLPDType(), p.Predicted, p.Slots, slices.Sorted(maps.Keys(p.Resident)),
		o.Strategy.IO, o.Strategy.AsyncTransfer, o.Strategy.Policy, o.Strategy.UseLRUEviction, o.Strategy.Predictor)
	if c := o.Calibration; c != nil {
		point, _ := c.Choose(quality(o.Strategy))
		fmt.Fprint(h, c.Tokens, point)
	}
	return fmt.Sprintf("%s, %d processors, %s, %d threads, placement %016x", processor(), runtime.NumCPU(), k.Name, p.Threads, h.Sum64())
}

// processor is the processor's name where the system gives one, else its
// architecture.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return runtime.GOARCH
}
