package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// benchJSON is what bench --json prints. The rows of an ablation and of a
// sweep are of their own.
type benchJSON struct {
	Schema       int             `json:"schema"`
	Model        string          `json:"model"`
	Device       string          `json:"device"`
	Machine      string          `json:"machine"`
	DType        string          `json:"dtype"`
	Text         string          `json:"text"`
	Synthetic    bool            `json:"synthetic"`      // the weights
	BudgetBytes  int64           `json:"budget_bytes"`   // of the rows under the budget
	PeakRSSBytes int64           `json:"peak_rss_bytes"` // the most of these, naive and mmap apart
	Limits       bench.Limits    `json:"limits"`
	Rows         []bench.Row     `json:"rows"`
	Ablation     []bench.Row     `json:"ablation,omitempty"`
	Sweep        []bench.Row     `json:"sweep,omitempty"`
	Skipped      []bench.Skipped `json:"skipped"`
}

// run measures.
func (b *benchmark) run(ctx context.Context, f benchFlags) (*benchJSON, error) {
	rep, err := bench.Run(ctx, b.o, b.modes)
	if err != nil {
		return nil, err
	}
	out := &benchJSON{
		Schema: schema, Model: b.o.Model, Device: rep.Backend, Machine: bench.Machine(), DType: b.dtype, Text: b.o.TraceText, Synthetic: b.o.Profile.Synthetic,
		Limits: b.o.Limits, Rows: rep.Rows, Skipped: append([]bench.Skipped{}, rep.Skipped...),
	}
	for _, r := range rep.Rows {
		if r.Mode == bench.Sparse {
			out.BudgetBytes, out.PeakRSSBytes = r.BudgetBytes, max(out.PeakRSSBytes, r.PeakRSSBytes)
		}
	}
	b.o.Expect = rep.Proof
	b.o.Tests = slices.DeleteFunc(b.o.Tests, func(t bench.Test) bool { return t.Prompt })
	if f.ablate {
		if rep, err = bench.Run(ctx, b.o, bench.Ablation()); err != nil {
			return nil, err
		}
		out.Ablation, out.Skipped = rep.Rows, append(out.Skipped, rep.Skipped...)
	}
	return out, b.sweep(ctx, f.sweep, out)
}

// sweep adds the rows of sparse decoding with other budgets.
func (b *benchmark) sweep(ctx context.Context, shares []float64, out *benchJSON) error {
	for _, share := range shares {
		b.o.Strategy.Budget, b.o.Strategy.GPUCacheRatio = config.Budget{Share: share}, nil
		rep, err := bench.Run(ctx, b.o, []bench.Mode{bench.Sparse})
		if err != nil {
			return err
		}
		for _, r := range rep.Rows {
			r.BudgetShare = share
			out.Sweep = append(out.Sweep, r)
		}
		out.Skipped = append(out.Skipped, rep.Skipped...)
	}
	return nil
}

// dtypes are the element types of a pack's weights.
func dtypes(l *pack.Layout) string {
	attn, mlp := strings.ToLower(l.AttnDType().String()), strings.ToLower(l.MLPDType().String())
	if attn == mlp {
		return attn
	}
	return attn + " attention, " + mlp + " MLP"
}

func printBench(w io.Writer, o *benchJSON) {
	weights := o.DType
	if o.Synthetic {
		weights += " synthetic weights"
	}
	fmt.Fprintf(w, "%s, %s, on %s (%s); forced text: %s\n", o.Model, weights, o.Device, o.Machine, o.Text)
	fmt.Fprintf(w, "limits: %s\n\n", limitsLine(&o.Limits))
	printRows(w, o.Rows)
	if len(o.Ablation) > 0 {
		fmt.Fprintf(w, "\nwhat each part adds\n")
		printRows(w, o.Ablation)
	}
	if len(o.Sweep) > 0 {
		fmt.Fprintf(w, "\nby budget\n")
		printRows(w, o.Sweep)
	}
	for _, s := range o.Skipped {
		fmt.Fprintf(w, "%s not measured: %s\n", s.Mode, s.Why)
	}
	printStarts(w, o.Rows)
	printQuality(w, slices.Concat(o.Rows, o.Sweep))
}

// limitsLine is limits in words.
func limitsLine(l *bench.Limits) string {
	disk := "disk"
	if l.Simulated != "" {
		disk = "simulated disk"
	}
	return fmt.Sprintf("memory %.1f GB/s in order, products %.1f of matrices, %.1f of neurons, %.1f of whole layers (%s); %s %.2f GB/s in %.0f random reads/s of %s, %.2f once more, %.2f in sequence",
		l.MemoryGBs, l.RowsGBs, l.NeuronsGBs, l.CompleteGBs, count(l.Threads, "thread"),
		disk, l.RandomGBs, l.RandomIOPS, config.FormatSize(l.ReadBytes), l.RandomWarmGBs, l.SequentialGBs)
}

// printStarts says, once for each mode, how long a new process took to its first
// token, and what mode auto chose.
func printStarts(w io.Writer, rows []bench.Row) {
	t := table{right: []bool{false, true, true, true, false}}
	t.add("mode", "first token", "needs", "of read time", "auto chose")
	var seen []bench.Mode
	for _, r := range rows {
		if r.FirstTokenS == 0 || slices.Contains(seen, r.Mode) {
			continue
		}
		seen = append(seen, r.Mode)
		t.add(string(r.Mode), fmt.Sprintf("%.2f s", r.FirstTokenS), config.FormatSize(r.FirstTokenBytes),
			fmt.Sprintf("%.2f", r.FirstTokenOfReads), r.Auto)
	}
	if len(seen) > 0 {
		fmt.Fprintln(w, "\nfrom the start of the process to the first token")
		t.print(w)
	}
}

func printRows(w io.Writer, rows []bench.Row) {
	t := table{right: make([]bool, 16)}
	for i := range t.right {
		t.right[i] = i > 1
	}
	t.add("test", "mode", "budget", "peak RSS", "tokens/s", "sd", "fast/token", "slow/token", "misses", "hits", "stall", "GB/s", "of limit", "of disk", "of plan", "of dense")
	for _, r := range rows {
		plan, dense := "-", "-"
		if r.OfEstimate > 0 {
			plan = fmt.Sprintf("%.2f", r.OfEstimate)
		}
		if r.OfDense > 0 {
			dense = fmt.Sprintf("%.2f", r.OfDense)
		}
		t.add(r.Test.String(), string(r.Mode), config.FormatSize(r.BudgetBytes), config.FormatSize(r.PeakRSSBytes),
			figures(r.TokS), figures(r.SD), config.FormatSize(r.FastBytes), config.FormatSize(r.SlowBytes),
			figures(r.Misses), share100(r.HitRate), fmt.Sprintf("%.1f ms", r.StallMS),
			fmt.Sprintf("%.1f", r.GBs), fmt.Sprintf("%.2f", r.ShareOfLimit), fmt.Sprintf("%.2f", r.IOShare), plan, dense)
	}
	t.print(w)
}

// printQuality says, once for each mode and budget, what leaving neurons out
// costs.
func printQuality(w io.Writer, rows []bench.Row) {
	t := table{right: []bool{false, true, true, true, true, true, true, true}}
	t.add("mode", "budget", "recall", "worst layer", "MLP error", "worst layer", "KL", "computed", "per active", "greedy as exact")
	type key struct {
		mode   bench.Mode
		budget int64
	}
	seen := make(map[key]bool)
	for _, r := range rows {
		q, k := r.Quality, key{r.Mode, r.BudgetBytes}
		if q == nil || seen[k] {
			continue
		}
		seen[k] = true
		perActive := "-"
		if q.Active > 0 {
			perActive = fmt.Sprintf("%.2f", q.Computed/q.Active)
		}
		greedy := "-"
		if q.Greedy > 0 {
			greedy = fmt.Sprintf("%d of %d", q.GreedySame, q.Greedy)
		}
		t.add(string(r.Mode), config.FormatSize(r.BudgetBytes),
			fmt.Sprintf("%.4f", q.RecallWeighted), fmt.Sprintf("%.4f", q.WorstRecall),
			fmt.Sprintf("%.4f", q.MLPError), fmt.Sprintf("%.4f", q.WorstError),
			fmt.Sprintf("%.5f", q.KL), fmt.Sprintf("%.2f %%", 100*q.Computed), perActive,
			greedy)
	}
	if len(seen) > 0 {
		fmt.Fprintln(w, "\nwhat leaving neurons out costs, against the exact model on the same tokens")
		t.print(w)
	}
}

// statusLine says on one line of a terminal what is being done, and nothing
// elsewhere.
type statusLine struct {
	to    io.Writer // nil: nowhere
	width int       // of what is shown
}

func (a *app) newStatusLine() *statusLine {
	if !isTerminal(a.stderr) {
		return &statusLine{}
	}
	return &statusLine{to: a.stderr}
}

func (s *statusLine) show(what string) {
	if s.to == nil {
		return
	}
	n := utf8.RuneCountInString(what)
	fmt.Fprintf(s.to, "\r%s%s", what, strings.Repeat(" ", max(0, s.width-n)))
	s.width = n
}

// close takes the line away.
func (s *statusLine) close() {
	if s.to != nil && s.width > 0 {
		s.show("")
		fmt.Fprint(s.to, "\r")
	}
}

// writeBenchSVG draws a sweep.
func writeBenchSVG(path, model string, o *benchJSON) error {
	err := atomicfile.Write(path, func(w io.Writer) error {
		return bench.SweepSVG(w, filepath.Base(model)+", "+o.DType+", on "+o.Machine, o.Sweep, o.Rows)
	})
	if err != nil {
		return fmt.Errorf("bench: draw: %w", err)
	}
	return nil
}
