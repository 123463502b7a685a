package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/table"
	"github.com/sparseflow/sparseflow/models/text"
)

func (a *app) trainCommand() *cobra.Command {
	var m modelFlags
	var f trainFlags
	cmd := &cobra.Command{
		Use:     "train MODEL [--file FILE]",
		GroupID: groupTool,
		Short:   "Train and calibrate a model's predictors on a text",
		Long: `Train learns from a text how far the predictor's 4-bit sketch of each neuron is
to be trusted, makes sketches of 3 bits that are rounded for such text, and
measures what each degree of trust costs in quality on a part of the text that it
has not learned from. In models whose layers are large enough
it also makes factors of low rank, and each layer takes what costs least for the
same loss; --predictor wants one kind everywhere. It writes a sidecar beside the
pack, which run, score and eval then use: --quality chooses among its points.

Where perplexity means nothing, with synthetic weights or with --floor recall,
there is one point: recall weighted by activation of 0.95 and an output error of
0.2 in every layer. A model without a tokenizer learns from drawn token ids.

Without --file a bundled text of public-domain books is used. Some 8,000 tokens
are looked at; a text like those that the model will see is best. The memory that
it will take is said first and kept within --budget, the time once a layer is
finished. A training that ends early changes nothing.`,
		Example: `  sparseflow train tiny
  sparseflow train DIR --file book.txt --ctx 512
  sparseflow train DIR --file book.txt --predictor lowrank --seed 7
  sparseflow train DIR --floor recall
  sparseflow run tiny "Once upon a time" --quality 0.1%`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.train(cmd, &m, args[0], f)
		},
	}
	f.floor = floorAuto
	cmd.Flags().StringVar(&f.file, "file", "", "learn from this `file`")
	cmd.Flags().StringVarP(&f.Output, "output", "o", "", "write the sidecar to this `file`")
	cmd.Flags().Var(enum{&f.floor, []string{floorAuto, string(sparseflow.FloorPerplexity), string(sparseflow.FloorRecall)}}, "floor", "what quality is: a rise of perplexity, or recall and output error in every layer; auto: recall where the weights are synthetic")
	cmd.Flags().Uint64Var(&f.Seed, "seed", 0, "`number` that random choices start from")
	cmd.Flags().Duration("time", 0, "has no effect")
	_ = cmd.Flags().MarkHidden("time") // fails for unknown flags alone
	cmd.Flags().IntVar(&f.Bits, "bits", 0, "`bits` of every sketch, 3 or 4; 0: what costs least, layer by layer")
	cmd.Flags().IntVar(&f.Rank, "rank", 0, "`rank` of all low-rank factors, 16, 32, 64 ...; 0: what costs least, layer by layer")
	m.add(cmd, sparseflow.Auto)
	return cmd
}

// floorAuto lets the model say what its floor is.
const floorAuto = "auto"

// trainFlags are the flags of train alone.
type trainFlags struct {
	sparseflow.Training
	file, floor string
}

// check refuses widths and ranks that there are not, or not of that predictor.
func (f trainFlags) check(cmd *cobra.Command, predictor string) error {
	switch r := f.Rank; {
	case f.Bits != 0 && f.Bits != 3 && f.Bits != 4:
		return usagef(cmd, "--bits: got %d, want 3 or 4", f.Bits)
	case f.Bits > 0 && predictor == "lowrank":
		return usagef(cmd, "--bits: got %d with --predictor lowrank, which has no sketch", f.Bits)
	case r != 0 && (r < 16 || r&(r-1) != 0):
		return usagef(cmd, "--rank: got %d, want 16, 32, 64 ...", r)
	case r != 0 && predictor == "sketch":
		return usagef(cmd, "--rank: got %d with --predictor sketch, which has no factors", r)
	}
	return nil
}

// trainJSON is what train --json prints.
type trainJSON struct {
	Schema int                         `json:"schema"`
	Path   string                      `json:"path"`
	Text   string                      `json:"text"`
	Tokens int                         `json:"tokens"`
	Floor  sparseflow.Floor            `json:"floor"`
	Points []sparseflow.OperatingPoint `json:"points"`
}

func (a *app) train(cmd *cobra.Command, m *modelFlags, model string, f trainFlags) error {
	strategy, err := m.strategy(cmd)
	if err != nil {
		return err
	}
	if strategy.Predictor == "oracle" || strategy.Predictor == "all" {
		return usagef(cmd, "--predictor: got %s, which learns nothing, want sketch or lowrank", strategy.Predictor)
	}
	if !cmd.Flags().Changed("predictor") {
		strategy.Predictor = "" // what costs least
	}
	if err := f.check(cmd, strategy.Predictor); err != nil {
		return err
	}
	if cmd.Flags().Changed("time") {
		fmt.Fprintln(a.stderr, "note: --time has no effect: training does not depend on the clock")
	}
	t := f.Training
	t.Text, t.Name = text.Sample, "bundled sample"
	if f.floor != floorAuto {
		t.Floor = sparseflow.Floor(f.floor)
	}
	if f.file != "" {
		if t.Text, err = a.readUTF8("--file", f.file); err != nil {
			return err
		}
		t.Name = f.file
	} else if tok, err := sparseflow.LoadTokenizer(model, sparseflow.WithCacheDir(m.cacheDir)); errors.Is(err, sparseflow.ErrNoTokenizer) && tok == nil {
		t.Text = ""
		fmt.Fprintf(a.stderr, "note: learning from drawn token ids: %v\n", err)
	}
	bar := a.newProgress()
	memory.LimitHeapToConvert()
	c, path, err := sparseflow.Train(cmd.Context(), model, t,
		sparseflow.WithStrategy(strategy),
		sparseflow.WithCacheDir(m.cacheDir),
		sparseflow.WithProgress(bar.report),
		sparseflow.WithNotices(bar.note))
	bar.close()
	if err != nil {
		return err
	}
	if m.json {
		return a.printJSON(trainJSON{schema, path, c.Text, c.Tokens, c.Floor, c.Points})
	}
	fmt.Fprintf(a.stdout, "%s\n\n", floorText(c))
	tab := table.Numbers(0)
	tab.Add("perplexity", "KL", "computed", "of active", "recall", "weighted", "output error")
	for _, p := range c.Points {
		tab.Add(fmt.Sprintf("%+.3f %%", 100*p.PPLChange), fmt.Sprintf("%.5f", p.KL), fmt.Sprintf("%.2f %%", 100*p.Computed),
			fmt.Sprintf("%.2f", p.Computed/p.Active), fmt.Sprintf("%.4f", p.Recall), fmt.Sprintf("%.4f", p.RecallWeighted), fmt.Sprintf("%.4f", p.MLPError))
	}
	tab.Print(a.stdout)
	fmt.Fprintf(a.stdout, "\ncalibrated on %s of %s; written to %s\n", count(c.Tokens, "token"), c.Text, path)
	return nil
}

// floorText says what the points hold and, where each layer has its own
// threshold, how far the worst layers are from it.
func floorText(c *sparseflow.Calibration) string {
	if c.Floor != sparseflow.FloorRecall {
		return "floor: a rise of perplexity, chosen at run time by --quality"
	}
	worst, far := 1.0, 0.0
	for _, l := range c.Points[0].Layers {
		worst, far = min(worst, l.RecallWeighted), max(far, l.MLPError)
	}
	return fmt.Sprintf("floor: weighted recall of at least %v and an output error of at most %v in every layer; got %.4f and %.4f",
		sparseflow.LeastRecall, sparseflow.MostError, worst, far)
}
