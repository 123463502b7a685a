package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/lab/chart"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/mirror"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/table"
	sampletext "github.com/sparseflow/sparseflow/models/text"
)

// planFlags are the flags of plan alone.
type planFlags struct {
	runFlags
	svg          string
	measure      bool
	shape, quant string
}

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:     "plan (MODEL [PROMPT] | --shape SHAPE)",
		GroupID: groupTool,
		Short:   "Show what would live where for a budget",
		Long: `Plan prints what would be in fast memory and what would stay in the pack for a
budget, the smallest budget that works, and what a token would move. It reads
headers alone: nothing is loaded, and a checkpoint is not converted.

A budget in percent is a share of the model's weights. A budget in bytes is for
the whole process, KV cache and program included. The smallest one depends on
the model, --ctx, --kv and --threads alone. Below it the exit status is 3, with
every command.

A config.json, or a checkpoint's directory with nothing else in it, or --shape is
enough: whether a model would run here can be seen before it is downloaded.

All flags of run are taken and have the same defaults, so that what is planned is
what run would do: the context is what the prompt, or a page of 64 tokens where
none is given, and --max-tokens need.

The time of a token is an estimate from 10 GB/s of memory and 1 GB/s of disk.
With --measure it is from what this machine does with weights of that shape, from
memory and from the pack's disk, which takes some seconds and up to 2 GiB of
memory. Neurons are counted as read and computed one after the other, though that
overlaps; matrices that stream as multiplied while they come.

Where matrices do not fit, plan says which layers stream, and in which element type
all of the model would fit.

What a token reads depends on the share of neurons that is active. That is known
of models that train or profile has seen, and of synthetic ones. Of others it is
assumed to be that of a published one (OPT-6.7B's 3.3 %; for gates ReluLLaMA-7B's
32.9 % or ProSparse-7B's 10.7 %), or with --measure measured on a page of text.`,
		Example: `  sparseflow plan tiny
  sparseflow plan tiny --budget 58%
  sparseflow plan tiny --budget 100MB --ctx 256 --json
  sparseflow plan tiny --gpu-cache-ratio 0.3
  sparseflow plan --shape opt-6.7b --budget 8GB --quant q8_0
  sparseflow plan config.json
  sparseflow plan model.sflow --budget 58% --measure
  sparseflow plan tiny --budget 58% --svg tiers.svg`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.shape != "" {
				return argsNamed(0)(cmd, args)
			}
			return argsNamed(1, "MODEL", "PROMPT")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.shape != "" {
				args = []string{f.shape}
			}
			in, err := f.text.read(a, cmd, "PROMPT", args[1:], false)
			if err != nil {
				return err
			}
			return a.plan(cmd, args[0], in, &f)
		},
	}
	f.add(cmd)
	for _, name := range []string{"seed", "sim-disk", "stats", "temperature", "top-k", "top-p", "min-p", "repetition-penalty", "stop", "ignore-eos"} {
		cmd.Flags().Lookup(name).Hidden = true // taken, for they are run's, and of no effect
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.measure, "measure", false, "estimate a token's time from what this machine does")
	fs.StringVar(&f.svg, "svg", "", "also draw the tiers into this file")
	published := slices.DeleteFunc(synth.Shapes(), func(s string) bool { return s == synth.Custom })
	published = append(published, synth.GGUFShapes()...)
	f.quant = string(convert.Keep)
	fs.Var(enum{&f.shape, published}, "shape", "plan this published model without having it, in f16 unless --quant says otherwise")
	fs.Var(enum{&f.quant, convert.Quants()}, "quant", "plan as if the weights had this element type")
	return cmd
}

// planned is a model's placement, and what is said beside it.
type planned struct {
	*sparseflow.Placement
	profile  config.ModelProfile
	strategy sparseflow.OffloadStrategy
	limits   *bench.Limits // what was measured, nil: nothing
	smaller  *asQuant
}

// place is the plan of a model, or of one without weights. It comes with the error
// of a budget that is too small.
func (a *app) place(cmd *cobra.Command, model string, in input, f *planFlags, active []float64) (p planned, err error) {
	u, err := f.unseen(model)
	switch {
	case err != nil:
		return p, err
	case u == nil:
		if err = f.setDefaults(cmd, model, in); err == nil {
			p.profile, err = profileOf(model, f.model.cacheDir)
		}
	case f.measure:
		return p, usagef(cmd, "--measure: got %s, want a pack, whose disk can be measured", u.from)
	default:
		if p.profile = u.profile; f.model.Context == 0 {
			f.model.Context = contextFor(kv.PageTokens, f.asked.MaxTokens, u.profile.MaxPositions)
		}
	}
	if err != nil {
		return p, err
	}
	if p.strategy, err = f.model.strategy(cmd); err != nil {
		return p, err
	}
	options := []sparseflow.Option{
		sparseflow.WithStrategy(p.strategy),
		sparseflow.WithCacheDir(f.model.cacheDir), // where what was learned lies too
		sparseflow.WithActiveShares(active),
		sparseflow.WithNotices(a.newProgress().note)}
	if u == nil {
		p.Placement, err = sparseflow.Plan(model, options...)
		return p, err
	}
	a.newProgress().note(fmt.Sprintf("sizes are computed from %s, with weights in %s", u.from, u.weights))
	c := sparseflow.SparseFlowConfig{Profile: mirror.To[sparseflow.ModelProfile](u.profile), Strategy: p.strategy}
	p.Placement, err = sparseflow.PlanQuant(c, u.weights, options...)
	return p, err
}

func (a *app) plan(cmd *cobra.Command, model string, in input, f *planFlags) error {
	m := &f.model
	p, err := a.place(cmd, model, in, f, nil)
	if p.Placement == nil {
		return err
	}
	if f.measure && err == nil {
		limits, err := a.measured(cmd.Context(), model, m.cacheDir, p.Threads)
		if err != nil {
			return err
		}
		if p.ActiveFrom == string(placement.Assumed) && p.Active > 0 {
			if p, err = a.placeByActivity(cmd, model, in, f); err != nil {
				return err
			}
		}
		p.limits = limits
	}
	if f.svg != "" {
		title := model
		if !m.Budget.IsZero() {
			title += ", budget " + m.Budget.String()
		}
		if err := chart.Save(f.svg, chart.Tiers(title, p.Placement)); err != nil {
			return err
		}
	}
	if err == nil {
		if p.smaller, err = smaller(p); err != nil {
			return err
		}
	}
	if m.json {
		return errors.Join(a.printJSON(newPlanJSON(p, m.kv)), err)
	}
	printPlan(a.stdout, model, p)
	return err
}

// activityTokens is how many tokens of text show which share of a model's neurons is
// active.
const activityTokens = 128

// placeByActivity is the plan of a model by the share of its neurons that is active
// on a text, which it is run on.
func (a *app) placeByActivity(cmd *cobra.Command, model string, in input, f *planFlags) (p planned, err error) {
	strategy, err := f.model.strategy(cmd)
	if err != nil {
		return p, err
	}
	s := profile.Settings{
		Model: model, CacheDir: f.model.cacheDir, Strategy: mirror.To[config.OffloadStrategy](strategy), MaxTokens: activityTokens,
		Text: profile.Text{Name: "the bundled sample", Text: sampletext.Sample}, Drawn: true,
	}
	s.Strategy.Mode, s.Strategy.Predictor = config.Gate, ""
	run, err := profile.Prepare(s)
	if err != nil {
		return p, err
	}
	bar := a.newProgress()
	active, err := run.Active(cmd.Context(), convert.Options{Notify: bar.note, Progress: bar.report})
	bar.close()
	if err != nil {
		return p, err
	}
	return a.place(cmd, model, in, f, active)
}

// measured is what this machine does with a model's pack.
func (a *app) measured(ctx context.Context, model, cacheDir string, threads int) (*bench.Limits, error) {
	src, err := hub.FindIn(model, cacheDir)
	if err != nil {
		return nil, err
	}
	p, err := convert.OpenKnown(ctx, src, cacheDir, convert.Options{})
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("plan: --measure: got checkpoint %s, of which there is no pack whose disk could be measured, want one: \"sparseflow run %s\" makes it", model, model)
	}
	bar := a.newProgress()
	defer bar.close()
	bar.say("measuring memory and disk")
	l, err := bench.Measure(ctx, p, nil, threads)
	return &l, errors.Join(err, p.Close())
}

// planJSON is what plan --json prints. The top level is the whole process,
// weights the view that a share is of.
type planJSON struct {
	Schema       int                `json:"schema"`
	BudgetBytes  int64              `json:"budget_bytes"`
	MinimumBytes int64              `json:"minimum_bytes"`
	Weights      sparseflow.Account `json:"weights"`
	Fits         bool               `json:"fits"`
	Tiers        []sparseflow.Tier  `json:"tiers"`
	PerToken     perTokenJSON       `json:"per_token"`
	Active       *activeJSON        `json:"active,omitempty"`  // of a sparse model
	Experts      *expertsJSON       `json:"experts,omitempty"` // of a model with experts
	Streamed     []int              `json:"streamed_layers,omitempty"`
	Smaller      *asQuant           `json:"smaller,omitempty"` // where matrices stream: the element type that would help
	Limits       *bench.Limits      `json:"limits,omitempty"`  // as bench's, where they were measured

	Mode    string  `json:"mode"`
	Ctx     int     `json:"ctx"` // tokens
	KV      string  `json:"kv"`
	Threads int     `json:"threads"`
	TokS    float64 `json:"tok_s_estimate"`
}

// activeJSON is the share of the neurons that is active at a token, and how that is
// known: assumed, drawn or measured.
type activeJSON struct {
	Share float64 `json:"share"`
	From  string  `json:"from"`
}

// expertsJSON is how a mixture of experts is expected to be used.
type expertsJSON struct {
	Experts        int     `json:"experts"`         // in all layers
	Slots          int     `json:"slots"`           // for them
	PerToken       float64 `json:"per_token"`       // that a token wants
	HitRate        float64 `json:"hit_rate"`        // share of these in a slot
	From           string  `json:"from"`            // how that is known: assumed or measured
	BytesRAM       int64   `json:"bytes_ram"`       // that a token multiplies
	BytesMissed    int64   `json:"bytes_missed"`    // that it reads of experts
	BoundBy        string  `json:"bound_by"`        // memory or disk, whichever takes longer
	DenseResident  bool    `json:"dense_resident"`  // what every token needs is in memory
	SecondsMemory  float64 `json:"seconds_memory"`  // of the bytes multiplied
	SecondsReading float64 `json:"seconds_reading"` // of the bytes read
}

// newExpertsJSON is nil of a model without experts.
func newExpertsJSON(p planned) *expertsJSON {
	t := p.Token
	if t.Experts == 0 {
		return nil
	}
	e := &expertsJSON{PerToken: t.Experts, HitRate: 1 - t.Misses/t.Experts, From: p.ActiveFrom, BytesRAM: t.FastBytes, BytesMissed: t.ExpertBytes, DenseResident: p.Streamed == 0, BoundBy: "memory"}
	for l, n := range p.Slots {
		e.Slots += n
		e.Experts += p.profile.MoE(l).Experts
	}
	e.SecondsMemory, e.SecondsReading = placement.PerToken(t).Overlapped(p.rates())
	if e.SecondsReading > e.SecondsMemory {
		e.BoundBy = "disk"
	}
	return e
}

type perTokenJSON struct {
	BytesFast       int64   `json:"bytes_fast"`
	BytesSlow       int64   `json:"bytes_slow"`
	Misses          float64 `json:"misses"` // neurons
	Reads           float64 `json:"reads"`
	SecondsEstimate float64 `json:"seconds_estimate"`
}

func newPlanJSON(p planned, kv string) planJSON {
	var active *activeJSON
	if p.Active > 0 {
		active = &activeJSON{p.Active, p.ActiveFrom}
	}
	var streamed []int
	for l, streams := range p.Streams {
		if streams {
			streamed = append(streamed, l)
		}
	}
	return planJSON{
		Active:       active,
		Experts:      newExpertsJSON(p),
		Streamed:     streamed,
		Schema:       schema,
		BudgetBytes:  p.Process.BudgetBytes,
		MinimumBytes: p.Process.MinimumBytes,
		Weights:      p.Share,
		Fits:         p.Fits,
		Tiers:        p.Tiers,
		PerToken:     perTokenJSON{p.Token.FastBytes, p.Token.SlowBytes, p.Token.Misses, p.Token.Reads, p.seconds()},
		Limits:       p.limits,
		Smaller:      p.smaller,

		Mode: string(p.Mode), Ctx: p.Context, KV: kv, Threads: p.Threads, TokS: 1 / p.seconds(),
	}
}

// rates are what was measured, if anything was.
func (p planned) rates() placement.Rates {
	if p.limits != nil {
		return p.limits.Rates()
	}
	return placement.AssumedRates()
}

// seconds is the estimate of a token's.
func (p planned) seconds() float64 { return p.Token.Seconds(sparseflow.Rates(p.rates())) }

// printActivity says which share of the neurons is active and, where that is not
// known of the model, how it can be.
func printActivity(w io.Writer, p planned) {
	if p.Active == 0 {
		return
	}
	switch share := figures(100*p.Active) + " %"; placement.Activity(p.ActiveFrom) {
	case placement.Assumed:
		fmt.Fprintf(w, "%s of the neurons are assumed to be active at a token, as in %s, and what a token moves follows from that: train learns this model's share, --measure measures it\n", share, p.ActiveLike)
	case placement.Drawn:
		fmt.Fprintf(w, "%s of the neurons are active at a token, as the weights were drawn\n", share)
	default:
		fmt.Fprintf(w, "%s of the neurons are active at a token, as %s\n", share, p.ActiveFrom)
	}
}

// printHits says how many of the experts that a token wants are in slots.
func printHits(w io.Writer, p planned) {
	e := newExpertsJSON(p)
	if e == nil {
		return
	}
	how := "as routers of published models use experts"
	if e.From == string(placement.Measured) {
		how = "as this model's were counted"
	}
	fmt.Fprintf(w, "%d of %d experts have a slot, and a token finds some %s %% of the %.0f that it wants there, %s\n",
		e.Slots, e.Experts, figures(100*e.HitRate), e.PerToken, how)
}

func printPlan(w io.Writer, model string, p planned) {
	mode := fmt.Sprintf("mode %s", p.Mode)
	if p.Token.Experts > 0 {
		mode = "experts as routers name them"
	}
	fmt.Fprintf(w, "%s: %s, context of %s, %s, prompts %d tokens at a time\n\n",
		model, mode, count(p.Context, "token"), count(p.Threads, "thread"), p.Chunk)
	if p.Auto {
		fmt.Fprintf(w, "auto: %s\n\n", p.Chosen)
	}
	t := table.Numbers(1)
	for _, tier := range p.Tiers {
		t.Add(tier.Name, config.FormatSize(tier.Bytes), "")
		for _, it := range tier.Items {
			if it.Bytes > 0 {
				t.Add("  "+it.What, config.FormatSize(it.Bytes), percent(it.Bytes, tier.Bytes))
			}
		}
	}
	t.Print(w)
	fmt.Fprintln(w)
	b := table.Numbers(1)
	b.Add("", "budget", "minimum", "everything")
	b.Add("whole process", config.FormatSize(p.Process.BudgetBytes), config.FormatSize(p.Process.MinimumBytes), config.FormatSize(p.Process.TotalBytes))
	b.Add("weights", config.FormatSize(p.Share.BudgetBytes), config.FormatSize(p.Share.MinimumBytes), config.FormatSize(p.Share.TotalBytes))
	b.Add("  share", percent(min(p.Share.BudgetBytes, p.Share.TotalBytes), p.Share.TotalBytes), percent(p.Share.MinimumBytes, p.Share.TotalBytes), "100.0 %")
	b.Print(w)
	if p.Streamed > 0 {
		fmt.Fprintf(w, "\nlayers whose matrices stream, in part or all: %s\n", cmp.Or(layerRanges(p.Streams), "none, but the head does"))
	}
	all := "all weights but predictors"
	if p.Token.Experts > 0 {
		all = "all weights, also what every token needs,"
	}
	fmt.Fprintf(w, "\nthe smallest budget that works is %s: %s stream for every token\n", config.FormatSize(p.Process.MinimumBytes), all)
	fits := "fits"
	if !p.Fits {
		fits = "does not fit"
	}
	printActivity(w, p)
	printHits(w, p)
	seconds := p.seconds()
	fmt.Fprintf(w, "a token moves %s, of it %s from the pack (some %s ms)\n",
		config.FormatSize(p.Token.FastBytes), config.FormatSize(p.Token.SlowBytes), figures(1000*seconds))
	if p.limits != nil {
		fmt.Fprintf(w, "some %s tokens/s by what was measured: %s\n", figures(1/seconds), p.limits)
	} else {
		fmt.Fprintf(w, "some %s tokens/s, an estimate for ordinary memory and an ordinary NVMe disk; --measure estimates for this machine\n", figures(1/seconds))
	}
	if p.smaller != nil {
		fmt.Fprintln(w, p.smaller)
	}
	fmt.Fprintln(w, fits)
}
