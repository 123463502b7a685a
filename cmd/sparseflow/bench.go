package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/lab/chart"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/mirror"
)

// benchFlags are the flags of bench alone.
type benchFlags struct {
	bench.Benchmark
	tests, modes, svg, replay, exec, compared string
	wide                                      bool
}

// What bench does unless told otherwise. The budget is the original system's:
// attention and embeddings of OPT-6.7B, and 30 % of its neurons.
const (
	benchTests   = "pp512,tg128"
	benchReps    = 3
	benchBudget  = 0.58
	benchContext = 512
	benchTimeout = 20 * time.Minute
	benchSweep   = "20%,30%,40%,50%,60%,70%,80%,90%,100%" // of --sweep=all
)

// benchChild is the verb that a mode's process runs.
const benchChild = "bench-mode"

func (a *app) benchCommand() *cobra.Command {
	var m modelFlags
	var f benchFlags
	cmd := &cobra.Command{
		Use:     "bench MODEL",
		GroupID: groupTool,
		Short:   "Measure speed, beside baselines and the machine's limits",
		Long: `Bench measures prefill (ppN, a prompt of N tokens) and decoding (tgN, N tokens
one by one) of a model in several modes side by side, each in a process of its
own: dense and resident (sparse) with everything in memory; and under the budget
sparse and naive (as many neurons as fit stay in memory, the rest of each layer
is read in one piece for every token, all are computed). Naive decodes 8 tokens
instead of N and no prompts.

Decoding is forced: the tokens are those of a real text, the next part of it in
each repetition. Before a mode is timed its output is checked against the first
mode's. A mode that leaves neurons out prints what that costs on the same text:
recall weighted by activation, relative error of the MLP's output, both of the
worst layer, the divergence (KL) of the next token's distribution, and how many
neurons were computed for each active one.

Speed of memory and disk is measured in the same run. The share of the limit is
that of the speed at which the same bytes, in the same pattern on the same
threads, are loaded without computing. The bound (--wide, --json) is the longer of
what memory and disk need for a token's bytes.

A mixture of experts runs in modes resident and sparse, which compute the same.

The default budget is 58% of the weights. Tables fit into 80 columns; --wide and
--json have more figures.`,
		Example: `  sparseflow bench tiny
  sparseflow bench DIR --budget 45% --kv f16 --json
  sparseflow bench DIR --tests tg64 --modes sparse,naive
  sparseflow bench DIR --sweep=30%,58%,100% --svg speed.svg
  sparseflow bench DIR --ablate --modes dense
  sparseflow bench MOE.gguf --budget 6GB --modes sparse --tests tg32 --warm 32`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.replay != "" {
				return a.replay(args[0], &m, f.replay)
			}
			if f.compared != "" {
				return f.drawCompared(cmd, args[0])
			}
			return a.bench(cmd, args[0], &m, &f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.tests, "tests", benchTests, "what to time, a `list` of ppN and tgN")
	fs.StringVar(&f.modes, "modes", modeList(bench.Modes()), "in which modes, a `list`")
	fs.IntVar(&f.Reps, "reps", 0, "`times` that each test is repeated; the median counts; 0: 3, fewer where that takes long")
	fs.IntVar(&f.Warm, "warm", bench.WarmTokens, "`tokens` decoded before the first repetition, to fill the cache")
	fs.StringVar(&f.IDsFile, "ids", "", "force the token ids in this `file`, not a sample")
	fs.StringVar(&f.exec, "exec", "", "run each mode's process by this `command`, such as \"taskset -c 0,1\"")
	fs.BoolVar(&f.Ablate, "ablate", false, "also measure what each part of the system adds, from naive on")
	fs.Var(shares(&f.Sweep), "sweep", "also measure sparse decoding with other budgets, a `list` such as 30%,58%; all: 20% to 100%")
	fs.Lookup("sweep").NoOptDefVal = "all"
	fs.StringVar(&f.svg, "svg", "", "draw the sweep into this `file`")
	fs.BoolVar(&f.wide, "wide", false, "print tables with all their columns, wider than 80")
	fs.StringVar(&f.Trace, "trace", "", "also write which neurons or experts the sparse mode's text wants into this `file`")
	fs.StringVar(&f.replay, "replay", "", "measure nothing, but judge eviction policies by the trace in this `file`, or a routing trace as CSV")
	fs.StringVar(&f.compared, "compared", "", "measure nothing, but draw the rows of scripts/moe-compare.sh in this `file` (with --svg)")
	fs.DurationVar(&f.Timeout, "timeout", benchTimeout, "longest `time` that a mode may take")
	m.add(cmd, sparseflow.Auto)
	measuring := newGroup(modelFlagsTitle)
	m.addSimDisk(measuring)
	addGroup(cmd, measuring)
	return cmd
}

func modeList(modes []bench.Mode) string {
	var names []string
	for _, m := range modes {
		names = append(names, string(m))
	}
	return strings.Join(names, ",")
}

// benchChildCommand is what Run's processes run.
func (a *app) benchChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:    benchChild,
		Short:  "Measure one mode for bench",
		Hidden: true,
		Args:   argsNamed(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Child(cmd.Context(), a.stdin, a.stdout)
		},
	}
}

// replay judges eviction policies by a trace, with the model's profile if it
// has one.
func (a *app) replay(model string, m *modelFlags, path string) error {
	src, err := hub.Find(model)
	if err != nil {
		return err
	}
	var seen *cache.Counts
	if src.Kind == hub.Pack {
		if seen, err = storedCounts(src.Path, m.cacheDir); err != nil && !errors.Is(err, errNoProfile) {
			return err
		}
	}
	bar := a.newProgress()
	j, err := trace.JudgeFile(path, seen, func(done, total int64) { bar.report("replaying", done, total) })
	bar.close()
	switch {
	case err != nil:
		return err
	case m.json:
		return a.printJSON(j)
	}
	j.Print(a.stdout, path)
	return nil
}

func (a *app) bench(cmd *cobra.Command, model string, m *modelFlags, f *benchFlags) error {
	b, err := f.benchmark(cmd, model, m)
	if err != nil {
		return err
	}
	bar := a.newProgress()
	b.Progress = bar.say
	err = b.Prepare(cmd.Context(), convert.Options{Notify: bar.note, Progress: bar.report})
	var out *bench.Results
	if err == nil {
		out, err = b.Run(cmd.Context())
	}
	bar.close()
	if err == nil && f.svg != "" {
		err = chart.Save(f.svg, chart.Sweep(out))
	}
	switch {
	case err != nil:
		return err
	case m.json:
		return a.printJSON(out)
	}
	out.Print(a.stdout, f.wide)
	return nil
}

// benchmark checks what can be checked from headers, before anything is
// converted or loaded.
func (f *benchFlags) benchmark(cmd *cobra.Command, model string, m *modelFlags) (*bench.Benchmark, error) {
	b := &f.Benchmark
	b.Model, b.CacheDir, b.SimDisk, b.Command = model, m.cacheDir, (*disk.SimSpec)(m.simDisk), benchProcess(strings.Fields(f.exec))
	b.AllReps, b.Reps = b.Reps != 0, cmp.Or(b.Reps, benchReps)
	var err error
	if b.Modes, err = bench.ParseModes(f.modes); err != nil {
		return nil, usagef(cmd, "--modes: %v", err)
	}
	if b.Tests, err = bench.ParseTests(f.tests); err != nil {
		return nil, usagef(cmd, "--tests: %v", err)
	}
	switch {
	case b.Reps < 0 || b.Reps > bench.MostReps:
		return nil, usagef(cmd, "--reps: got %d, want 0 to %d", b.Reps, bench.MostReps)
	case f.svg != "" && b.Sweep == nil:
		return nil, usagef(cmd, "--svg: got no sweep to draw, want --sweep too")
	case b.Trace != "" && !slices.Contains(b.Modes, bench.Sparse):
		return nil, usagef(cmd, "--trace: got --modes %s, want sparse among them, which is traced", f.modes)
	case b.Warm < 0 || b.Warm > bench.MostWarm:
		return nil, usagef(cmd, "--warm: got %d, want 0 to %d", b.Warm, bench.MostWarm)
	case b.Timeout <= 0:
		return nil, usagef(cmd, "--timeout: got %v, want more than 0", b.Timeout)
	case m.Mode == sparseflow.Dense:
		return nil, usagef(cmd, "--mode: got dense, want the mode of the sparse rows; --modes dense is the dense one")
	}
	if b.Profile, err = profileOf(model, m.cacheDir); err != nil {
		return nil, err
	}
	if err := benchFits(cmd, m, b); err != nil {
		return nil, err
	}
	if err := f.routed(cmd); err != nil {
		return nil, err
	}
	strategy, err := m.strategy(cmd)
	if err != nil {
		return nil, err
	}
	if strategy.Budget.IsZero() && strategy.GPUCacheRatio == nil {
		strategy.Budget.Share = benchBudget
	}
	b.Strategy = mirror.To[config.OffloadStrategy](strategy)
	_, err = sparseflow.Plan(model, sparseflow.WithStrategy(strategy), sparseflow.WithCacheDir(m.cacheDir))
	return b, err
}

// benchFits chooses the context, if the user did not, and holds the tests to it.
func benchFits(cmd *cobra.Command, m *modelFlags, b *bench.Benchmark) error {
	need := benchContext
	for _, t := range b.Tests {
		need = max(need, t.Context())
	}
	if m.Context == 0 {
		m.Context = min(need, b.Profile.MaxPositions)
	}
	if m.Context < bench.LeastContext {
		return usagef(cmd, "--ctx: got %d tokens, want at least %d to check the output on (the model's longest is %d)", m.Context, bench.LeastContext, b.Profile.MaxPositions)
	}
	for _, t := range b.Tests {
		if t.Context() > m.Context {
			return usagef(cmd, "--tests: %v: got a context of %d tokens, want at least %d (--ctx; the model's longest is %d)", t, m.Context, t.Context(), b.Profile.MaxPositions)
		}
	}
	return nil
}

// routed holds a mixture of experts to the modes that it has: its router alone says
// what is computed.
func (f *benchFlags) routed(cmd *cobra.Command) error {
	if f.Profile.Experts() == 0 {
		return nil
	}
	has := []bench.Mode{bench.Resident, bench.Sparse}
	if !cmd.Flags().Changed("modes") {
		f.Modes = has
	}
	for _, m := range f.Modes {
		if !slices.Contains(has, m) {
			return usagef(cmd, "--modes: got %s of a mixture of experts, want some of %s: its router says what is computed", m, modeList(has))
		}
	}
	if f.Ablate {
		return usagef(cmd, "--ablate: got a mixture of experts, want a model of which neurons are left out")
	}
	return nil
}

// drawCompared draws what another program measured of this one and of llama.cpp.
func (f *benchFlags) drawCompared(cmd *cobra.Command, model string) error {
	if f.svg == "" {
		return usagef(cmd, "--compared: got no file to draw into, want --svg too")
	}
	rows, err := chart.ReadCompared(f.compared)
	if err != nil {
		return err
	}
	return chart.Save(f.svg, chart.Compared(filepath.Base(model), rows))
}

// benchProcess makes the process of a mode: this program with the verb for it, by
// another one where that is asked for.
func benchProcess(by []string) func(context.Context) (*exec.Cmd, error) {
	return func(ctx context.Context) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("bench: find this program: %w", err)
		}
		if len(by) > 0 {
			return exec.CommandContext(ctx, by[0], slices.Concat(by[1:], []string{self, benchChild})...), nil
		}
		c := exec.CommandContext(ctx, self, benchChild)
		c.Args[0] = os.Args[0] // a program of several names goes by it
		return c, nil
	}
}
