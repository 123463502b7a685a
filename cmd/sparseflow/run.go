package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
)

// tinyShare is the budget of "run tiny" where none is given: tiny fits
// anywhere, so that without a budget there would be nothing to see. It is the
// share that the original system's demonstration ran with.
const tinyShare = 0.58

// runFlags are the flags of run.
type runFlags struct {
	model    modelFlags
	sampling samplingFlags
	text     textFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:     "run MODEL [PROMPT]",
		GroupID: groupRun,
		Short:   "Continue a text",
		Long: `Run continues a text and prints what comes as it comes.

The prompt is the PROMPT argument, --text, --file or --ids; without any of them
it is read from standard input, and if that is a terminal run asks for one text
after another until Ctrl-D. The continuation goes to standard output, what it
took to standard error.

What is exact: in the modes dense and gate the text is that of the full model,
whatever the budget. In mode predicted neurons that the predictor does not ask
for are left out, so that the text may differ. Mode auto measures, the first time
that a model runs at a placement on a machine, which of them is fastest in each
layer and for prompts, and keeps to that from then on; --stats shows what it chose.

Where no flag says otherwise, tokens are chosen as the model's makers say in its
generation_config.json; without one the likeliest is taken each time.

Without --budget and --gpu-cache-ratio tiny runs with 58 % of its weights in
fast memory, other models with all of them or as much as 80 % of what is free.`,
		Example: `  sparseflow run tiny "Once upon a time"
  sparseflow run tiny "Once upon a time" --mode dense --max-tokens 40 --stats
  sparseflow run tiny --budget 80MB --gpu-cache-ratio 0.3 "The old man said"
  sparseflow run tiny --temperature 0.8 --top-p 0.95 --seed 7 "Once upon a time"
  echo "Once upon a time" | sparseflow run tiny --json
  sparseflow run tiny --ids 2,83,1703,553,262,583`,
		Args: argsNamed(1, "MODEL", "PROMPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd, &f, args)
		},
	}
	f.text.add(cmd)
	f.text.addIDs(cmd)
	f.model.add(cmd, sparseflow.Auto)
	f.model.addRun(cmd)
	f.sampling.add(cmd)
	return cmd
}

func (a *app) run(cmd *cobra.Command, f *runFlags, args []string) error {
	ctx := cmd.Context()
	model := args[0]
	request, err := f.request(cmd)
	if err != nil {
		return err
	}
	in, err := f.text.read(cmd, "PROMPT", args[1:])
	if err != nil {
		return err
	}
	ask := in.from == "" && isTerminal(a.stdin.from)
	if ask && f.model.json {
		return usagef(cmd, "got --json but no prompt, want PROMPT, --text, --file, --ids or standard input")
	}
	if in.from == "" && !ask {
		if in, err = a.readStdin(); err != nil {
			return err
		}
		if in.text == "" {
			return usagef(cmd, "got no prompt and nothing on standard input, want PROMPT, --text, --file or --ids")
		}
	}
	if f.model.budget.IsZero() && f.model.ratio == nil && model == "tiny" {
		f.model.budget = sparseflow.Budget{Share: tinyShare}
	}
	eng, err := a.open(ctx, cmd, model, &f.model, !ask, in.ids == nil) // a bar would get in the way of who types
	if err != nil {
		return err
	}
	a.asPublished(cmd, eng, &request)
	if ask {
		err = a.converse(ctx, eng, f, request)
	} else {
		err = a.answerOnce(ctx, eng, f, request, in)
	}
	return errors.Join(err, eng.Close())
}

// request is all of a request but its prompt.
func (f *runFlags) request(cmd *cobra.Command) (sparseflow.Request, error) {
	params, err := f.sampling.params(cmd, f.model.seed)
	if err != nil {
		return sparseflow.Request{}, err
	}
	return sparseflow.Request{
		MaxTokens: f.sampling.maxTokens,
		Sampling:  params,
		Stop:      f.sampling.stop,
		IgnoreEOS: f.sampling.ignoreEOS,
	}, nil
}

// runJSON is what run --json prints.
type runJSON struct {
	Schema       int       `json:"schema"`
	PromptIDs    []int32   `json:"prompt_ids"`
	IDs          []int32   `json:"ids"`
	Text         string    `json:"text"`
	FinishReason string    `json:"finish_reason"`
	Stats        statsJSON `json:"stats"`
}

// answerOnce continues one text and tells what it took.
func (a *app) answerOnce(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, in input) error {
	res, err := a.generate(ctx, eng, f, r, in)
	if err != nil {
		return err
	}
	switch {
	case f.model.stats:
		statsTable(a.stderr, res.Stats, eng)
	case !f.model.json:
		summary(a.stderr, res.Stats, eng)
	}
	return nil
}

// generate continues one text and prints it, or its token ids where the model
// has no tokenizer.
func (a *app) generate(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, in input) (*sparseflow.Result, error) {
	var err error
	if r.IDs, err = idsOf(eng, in); err != nil {
		return nil, err
	}
	endsLine := true
	switch {
	case f.model.json:
	case eng.Tokenizer() == nil:
		r.OnToken = func(id int32) {
			if !endsLine {
				fmt.Fprint(a.stdout, " ")
			}
			fmt.Fprint(a.stdout, id)
			endsLine = false
		}
	default:
		r.OnText = func(s string) {
			fmt.Fprint(a.stdout, s)
			endsLine = strings.HasSuffix(s, "\n")
		}
	}
	res, err := eng.Generate(ctx, r)
	if !endsLine {
		fmt.Fprintln(a.stdout)
	}
	if err != nil {
		return nil, err
	}
	if f.model.json {
		return res, a.printJSON(runJSON{
			Schema:       schema,
			PromptIDs:    res.PromptIDs,
			IDs:          append([]int32{}, res.IDs...),
			Text:         res.Text,
			FinishReason: string(res.Finish),
			Stats:        newStatsJSON(res.Stats),
		})
	}
	return res, nil
}
