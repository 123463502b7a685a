package main

import (
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/models/text"
)

func (a *app) trainCommand() *cobra.Command {
	var m modelFlags
	var file, output string
	cmd := &cobra.Command{
		Use:     "train MODEL [--file FILE]",
		GroupID: groupTool,
		Short:   "Calibrate a model's predictor on a text",
		Long: `Train learns from a text how far the predictor's 4-bit sketch of each neuron is
to be trusted, and measures what each degree of trust costs in quality on a part
of the text that it has not learned from. It writes a small sidecar beside the
pack, which run, score and eval then use: --quality chooses among its points.

Without --file a bundled text of public-domain books is used. Some 8,000 tokens
are looked at; a text like those that the model will see is best.`,
		Example: `  sparseflow train tiny
  sparseflow train DIR --file book.txt --ctx 512
  sparseflow run tiny "Once upon a time" --quality 0.1%`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.train(cmd, &m, args[0], file, output)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "learn from this `file`")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the sidecar to this `file`")
	m.add(cmd, sparseflow.Auto)
	return cmd
}

// trainJSON is what train --json prints.
type trainJSON struct {
	Schema int                         `json:"schema"`
	Path   string                      `json:"path"`
	Text   string                      `json:"text"`
	Tokens int                         `json:"tokens"`
	Points []sparseflow.OperatingPoint `json:"points"`
}

func (a *app) train(cmd *cobra.Command, m *modelFlags, model, file, output string) error {
	strategy, err := m.strategy(cmd)
	if err != nil {
		return err
	}
	sample, name := text.Sample, "bundled sample"
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		if !utf8.Valid(b) {
			return fmt.Errorf("train: %s: got a text that is not UTF-8, want UTF-8", file)
		}
		sample, name = string(b), file
	}
	bar := a.newProgress()
	limitToConvert()
	c, path, err := sparseflow.Train(cmd.Context(), model, sample, name, output,
		sparseflow.WithStrategy(strategy),
		sparseflow.WithCacheDir(m.cacheDir),
		sparseflow.WithProgress(bar.report),
		sparseflow.WithNotices(bar.note))
	bar.close()
	if err != nil {
		return err
	}
	if m.json {
		return a.printJSON(trainJSON{schema, path, c.Text, c.Tokens, c.Points})
	}
	t := table{right: []bool{true, true, true, true, true, true}}
	t.add("perplexity", "KL", "computed", "of active", "recall", "weighted")
	for _, p := range c.Points {
		t.add(fmt.Sprintf("%+.3f %%", 100*p.PPLChange), fmt.Sprintf("%.5f", p.KL), fmt.Sprintf("%.2f %%", 100*p.Computed),
			fmt.Sprintf("%.2f", p.Computed/p.Active), fmt.Sprintf("%.4f", p.Recall), fmt.Sprintf("%.4f", p.RecallWeighted))
	}
	t.print(a.stdout)
	fmt.Fprintf(a.stdout, "\ncalibrated on %s of %s; written to %s\n", count(c.Tokens, "token"), c.Text, path)
	return nil
}
