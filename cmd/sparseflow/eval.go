package main

import (
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/table"
)

// evalDrawnTokens is how many token ids are drawn for a synthetic model, the
// same each time, and none of the draws that it was made with.
const evalDrawnTokens = 2048

// evalFlags are the flags of eval alone.
type evalFlags struct {
	sparseflow.EvaluateOptions
	maxTokens int
}

func (a *app) evalCommand() *cobra.Command {
	var m modelFlags
	var t textFlags
	var f evalFlags
	cmd := &cobra.Command{
		Use:     "eval MODEL --file FILE",
		GroupID: groupTool,
		Short:   "Measure what leaving neurons out costs on a text",
		Long: `Eval runs a text through the model twice, exactly and as the mode says, and
prints perplexity and the divergence (KL) of the two, which active neurons the
predictor missed (recall, plain and weighted by their activation), how many it
computed, and how far each layer's output moved. It also decodes the beginning
of the text to see what a token moves from fast memory and from the pack.

No special tokens are added to the text. It is cut into consecutive windows of
one token less than the context, each preceded by the begin-of-text token, and
every token of a window is scored. Perplexities compare between runs with the
same window only.

A synthetic model needs no text: token ids are drawn for it by Zipf's law.

A share of the neurons is of all neurons and tokens. A large model takes long:
--max-tokens evaluates the beginning of the text.`,
		Example: `  sparseflow eval tiny --file book.txt
  sparseflow eval tiny --file book.txt --max-tokens 2000 --budget 58% --json
  sparseflow eval tiny --file book.txt --predictor oracle`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			profile, err := profileOf(args[0], m.cacheDir)
			if err != nil {
				return err
			}
			in, err := t.read(a, cmd, "", nil, !profile.Synthetic)
			switch {
			case err != nil:
				return err
			case in.from == "" && !profile.Synthetic:
				return usagef(cmd, "got no text, want --file, --text or standard input")
			case !utf8.ValidString(in.text):
				return fmt.Errorf("eval: %s: got a text that is not UTF-8, want UTF-8", in.from)
			}
			return a.eval(cmd, &m, args[0], in, f)
		},
	}
	t.add(cmd)
	fs := cmd.Flags()
	fs.IntVar(&f.Window, "window", 0, "`tokens` of a window; 0: one less than the context")
	fs.IntVar(&f.Stride, "stride", 0, "`tokens` that windows are apart; 0: a window")
	fs.IntVar(&f.maxTokens, "max-tokens", 0, "evaluate at most the first `n` tokens of the text; 0: all")
	m.add(cmd, sparseflow.Auto)
	m.addRun(cmd)
	return cmd
}

func (a *app) eval(cmd *cobra.Command, m *modelFlags, model string, in input, f evalFlags) error {
	if f.Window < 0 || f.Stride < 0 || f.maxTokens < 0 {
		return usagef(cmd, "got a negative --window, --stride or --max-tokens, want 0 or more")
	}
	return a.with(cmd, model, m, false, in.from != "", func(eng *sparseflow.Engine) (err error) {
		var ids []int32
		if in.from == "" {
			ids = sample.DrawTokens(eng.Profile().VocabSize, evalDrawnTokens, 0)
		} else if ids, err = eng.TokenizePlain(in.text); err != nil {
			return err
		}
		if f.maxTokens > 0 && len(ids) > f.maxTokens {
			ids = ids[:f.maxTokens]
		}
		bar := a.newProgress()
		f.Progress = func(done, total int64) { bar.report("evaluating", done, total) }
		rep, err := eng.Evaluate(cmd.Context(), ids, f.EvaluateOptions)
		bar.close()
		if err != nil {
			return err
		}
		return a.printEval(eng, m, rep)
	})
}

// evalJSON is what eval --json prints.
type evalJSON struct {
	Schema    int     `json:"schema"`
	Tokens    int     `json:"tokens"`
	PPLDense  float64 `json:"ppl_dense"`
	PPL       float64 `json:"ppl"`
	PPLChange float64 `json:"ppl_change"`
	KL        float64 `json:"kl"`
	layerJSON
	BytesFast int64       `json:"bytes_per_token_fast"`
	BytesSlow int64       `json:"bytes_per_token_slow"`
	Lookahead earlyJSON   `json:"lookahead"`
	Layers    []layerJSON `json:"layers"`
}

// earlyJSON is what the forecasts were worth in decoding, in neurons and bytes a
// token: what was read early and wanted, and what was read in vain.
type earlyJSON struct {
	UsedPerToken   float64 `json:"used_per_token"`
	WastedPerToken float64 `json:"wasted_per_token"`
	BytesUsed      int64   `json:"bytes_used_per_token"`
	BytesWasted    int64   `json:"bytes_wasted_per_token"`
}

// layerJSON is what the predictor got right, in one layer or in all.
type layerJSON struct {
	Recall         float64 `json:"recall"`
	RecallWeighted float64 `json:"recall_weighted"`
	Precision      float64 `json:"precision"`
	Active         float64 `json:"active"`
	Computed       float64 `json:"computed"`
	MLPError       float64 `json:"mlp_error"`
}

func newLayerJSON(l sparseflow.LayerAudit) layerJSON {
	return layerJSON{l.Recall(), l.RecallWeighted(), l.Precision(), l.ActiveShare(), l.ComputedShare(), l.OutputError()}
}

func (a *app) printEval(eng *sparseflow.Engine, m *modelFlags, r *sparseflow.Evaluation) error {
	steps := int64(max(1, r.DecodedTokens))
	out := evalJSON{
		Schema: schema, Tokens: r.Tokens,
		PPLDense: r.PPLDense, PPL: r.PPL, PPLChange: r.Change(), KL: r.KL,
		layerJSON: newLayerJSON(r.All),
		BytesFast: r.Decoding.FastBytes / steps, BytesSlow: r.Decoding.SlowBytes / steps,
	}
	used, wasted := r.Decoding.Early-r.Decoding.Wasted, r.Decoding.Wasted
	stride := eng.BundleBytes()
	out.Lookahead = earlyJSON{float64(used) / float64(steps), float64(wasted) / float64(steps), used * stride / steps, wasted * stride / steps}
	for _, l := range r.Layers {
		out.Layers = append(out.Layers, newLayerJSON(l))
	}
	if m.json {
		return a.printJSON(out)
	}
	fmt.Fprintf(a.stdout, "%s, mode %s: perplexity %.4f, dense %.4f (%+.3f %%); KL %.5f nats\n\n",
		count(r.Tokens, "token"), eng.Placement().Mode, r.PPL, r.PPLDense, 100*r.Change(), r.KL)
	t := table.Numbers(0)
	t.Add("layer", "active", "computed", "recall", "weighted", "precision", "output error")
	for i, l := range out.Layers {
		t.Add(append([]string{fmt.Sprint(i)}, l.cells()...)...)
	}
	t.Add(append([]string{"all"}, out.layerJSON.cells()...)...)
	t.Print(a.stdout)
	if r.DecodedTokens > 0 {
		fmt.Fprintf(a.stdout, "\na token moves %s fast, %s slow; %.1f %% cache hits (%s decoded)\n",
			config.FormatSize(out.BytesFast), config.FormatSize(out.BytesSlow), 100*r.Decoding.HitRate(), count(r.DecodedTokens, "token"))
	}
	if l := out.Lookahead; l.UsedPerToken+l.WastedPerToken > 0 {
		fmt.Fprintf(a.stdout, "read early: %.1f neurons a token that were wanted (%s), %.1f in vain (%s)\n",
			l.UsedPerToken, config.FormatSize(l.BytesUsed), l.WastedPerToken, config.FormatSize(l.BytesWasted))
	}
	return nil
}

func (l layerJSON) cells() []string {
	return []string{
		fmt.Sprintf("%.2f %%", 100*l.Active), fmt.Sprintf("%.2f %%", 100*l.Computed),
		fmt.Sprintf("%.4f", l.Recall), fmt.Sprintf("%.4f", l.RecallWeighted),
		fmt.Sprintf("%.3f", l.Precision), fmt.Sprintf("%.4f", l.MLPError),
	}
}
