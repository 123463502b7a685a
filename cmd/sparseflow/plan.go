package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/placement"
)

func (a *app) planCommand() *cobra.Command {
	var m modelFlags
	var svg string
	var measure bool
	cmd := &cobra.Command{
		Use:     "plan MODEL",
		GroupID: groupTool,
		Short:   "Show what would live where for a budget",
		Long: `Plan prints what would be in fast memory and what would stay in the pack for a
budget, the smallest budget that works, and what a token would move. It reads
headers alone: nothing is loaded, and a checkpoint is not converted.

A budget in percent is a share of the model's weights. A budget in bytes is for
the whole process, KV cache and program included. The smallest one depends on
the model, --ctx, --kv and --threads alone. Below it the exit status is 3, with
every command.

The time of a token is a rough guess from 10 GB/s of memory and 1 GB/s of disk.
With --measure it is from what this machine does with weights of that shape, from
memory and from the pack's disk, which takes some seconds and up to 2 GiB of
memory; reading and computing, which overlap, are counted one after the other.`,
		Example: `  sparseflow plan tiny
  sparseflow plan tiny --budget 58%
  sparseflow plan tiny --budget 100MB --ctx 256 --json
  sparseflow plan tiny --gpu-cache-ratio 0.3
  sparseflow plan model.sflow --budget 58% --measure
  sparseflow plan tiny --budget 58% --svg tiers.svg`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.plan(cmd, args[0], &m, svg, measure)
		},
	}
	m.add(cmd, sparseflow.Auto)
	cmd.Flags().BoolVar(&measure, "measure", false, "estimate a token's time from what this machine does")
	cmd.Flags().StringVar(&svg, "svg", "", "also draw the tiers into this file")
	return cmd
}

func (a *app) plan(cmd *cobra.Command, model string, m *modelFlags, svg string, measure bool) error {
	strategy, err := m.strategy(cmd)
	if err != nil {
		return err
	}
	p, err := sparseflow.Plan(model,
		sparseflow.WithStrategy(strategy),
		sparseflow.WithCacheDir(m.cacheDir), // where what was learned lies too
		sparseflow.WithNotices(a.newProgress().note))
	if p == nil {
		return err
	}
	if svg != "" {
		if err := writeSVG(svg, model, strategy, p); err != nil {
			return err
		}
	}
	var limits *bench.Limits
	if measure && err == nil {
		status := a.newStatusLine()
		status.show("measuring memory and disk")
		limits, err = measured(cmd.Context(), model, m.cacheDir, p.Threads)
		status.close()
		if err != nil {
			return err
		}
	}
	if m.json {
		return errors.Join(a.printJSON(newPlanJSON(p, limits)), err)
	}
	printPlan(a.stdout, model, p, limits)
	return err
}

// measured is what this machine does with a model's pack.
func measured(ctx context.Context, model, cacheDir string, threads int) (*bench.Limits, error) {
	src, err := hub.Find(model)
	if err != nil {
		return nil, err
	}
	path, err := convert.KnownPack(ctx, src, cacheDir)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("plan: --measure: got checkpoint %s, of which there is no pack whose disk could be measured, want one: \"sparseflow run %s\" makes it", model, model)
	}
	layout, err := convert.Layout(src)
	if err != nil {
		return nil, err
	}
	l, err := bench.Measure(ctx, path, layout, nil, threads)
	return &l, err
}

// writeSVG draws the tiers of a plan.
func writeSVG(path, model string, s sparseflow.OffloadStrategy, p *sparseflow.Placement) error {
	title := model
	if !s.Budget.IsZero() {
		title += ", budget " + s.Budget.String()
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("plan: draw: %w", err)
	}
	if err := p.SVG(f, title); err != nil {
		return errors.Join(fmt.Errorf("plan: draw: %w", err), f.Close())
	}
	return f.Close()
}

// planJSON is what plan --json prints. The top level is the whole process,
// weights the view that a share is of.
type planJSON struct {
	Schema       int           `json:"schema"`
	BudgetBytes  int64         `json:"budget_bytes"`
	MinimumBytes int64         `json:"minimum_bytes"`
	Weights      weightsJSON   `json:"weights"`
	Fits         bool          `json:"fits"`
	Tiers        []tierJSON    `json:"tiers"`
	PerToken     perTokenJSON  `json:"per_token"`
	Limits       *bench.Limits `json:"limits,omitempty"` // as bench's, where they were measured
}

type weightsJSON struct {
	TotalBytes   int64 `json:"total_bytes"`
	BudgetBytes  int64 `json:"budget_bytes"`
	MinimumBytes int64 `json:"minimum_bytes"`
}

type tierJSON struct {
	Name  string     `json:"name"`
	Bytes int64      `json:"bytes"`
	Items []itemJSON `json:"items"`
}

type itemJSON struct {
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
}

type perTokenJSON struct {
	BytesFast       int64   `json:"bytes_fast"`
	BytesSlow       int64   `json:"bytes_slow"`
	Misses          float64 `json:"misses"` // neurons
	Reads           float64 `json:"reads"`
	SecondsEstimate float64 `json:"seconds_estimate"`
}

func newPlanJSON(p *sparseflow.Placement, l *bench.Limits) planJSON {
	out := planJSON{
		Schema:       schema,
		BudgetBytes:  p.Process.BudgetBytes,
		MinimumBytes: p.Process.MinimumBytes,
		Weights:      weightsJSON(p.Share),
		Fits:         p.Fits,
		PerToken:     perTokenJSON{p.Token.FastBytes, p.Token.SlowBytes, p.Token.Misses, p.Token.Reads, estimate(p, l)},
		Limits:       l,
	}
	for _, t := range p.Tiers {
		tier := tierJSON{Name: t.Name, Bytes: t.Bytes, Items: []itemJSON{}}
		for _, it := range t.Items {
			tier.Items = append(tier.Items, itemJSON(it))
		}
		out.Tiers = append(out.Tiers, tier)
	}
	return out
}

// estimate is the seconds of a token by what was measured, if anything was.
func estimate(p *sparseflow.Placement, l *bench.Limits) float64 {
	if l == nil {
		return p.Token.Seconds(placement.AssumedRates())
	}
	return p.Token.Seconds(l.Rates())
}

func printPlan(w io.Writer, model string, p *sparseflow.Placement, l *bench.Limits) {
	fmt.Fprintf(w, "%s: mode %s, context of %s, %s, prompts %d tokens at a time\n\n",
		model, p.Mode, count(p.Context, "token"), count(p.Threads, "thread"), p.Chunk)
	switch {
	case p.Chosen != "":
		fmt.Fprintf(w, "auto chose: %s\n\n", p.Chosen)
	case p.Auto:
		fmt.Fprintf(w, "auto: the first run here measures what is fastest in each layer\n\n")
	}
	t := table{right: []bool{false, true, true}}
	for _, tier := range p.Tiers {
		t.add(tier.Name, config.FormatSize(tier.Bytes), "")
		for _, it := range tier.Items {
			if it.Bytes > 0 {
				t.add("  "+it.What, config.FormatSize(it.Bytes), percent(it.Bytes, tier.Bytes))
			}
		}
	}
	t.print(w)
	fmt.Fprintln(w)
	b := table{right: []bool{false, true, true, true}}
	b.add("", "budget", "minimum", "everything")
	b.add("whole process", config.FormatSize(p.Process.BudgetBytes), config.FormatSize(p.Process.MinimumBytes), config.FormatSize(p.Process.TotalBytes))
	b.add("weights", config.FormatSize(p.Share.BudgetBytes), config.FormatSize(p.Share.MinimumBytes), config.FormatSize(p.Share.TotalBytes))
	b.add("  share", percent(p.Share.BudgetBytes, p.Share.TotalBytes), percent(p.Share.MinimumBytes, p.Share.TotalBytes), "100.0 %")
	b.print(w)
	fits := "fits"
	if !p.Fits {
		fits = "does not fit"
	}
	seconds := estimate(p, l)
	fmt.Fprintf(w, "\na token moves %s, of it %s from the pack (some %s ms)\n",
		config.FormatSize(p.Token.FastBytes), config.FormatSize(p.Token.SlowBytes), figures(1000*seconds))
	if l != nil {
		fmt.Fprintf(w, "some %s tokens/s by what was measured: %s\n", figures(1/seconds), limitsLine(l))
	}
	fmt.Fprintln(w, fits)
}
