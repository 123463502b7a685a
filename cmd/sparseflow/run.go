package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
)

// runFlags are the flags of run.
type runFlags struct {
	model   modelFlags
	asked   sparseflow.Request // but for prompt and seed
	text    textFlags
	talk    talkFlags
	raw     bool
	answers bool // a text is answered, not continued
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:     "run MODEL [PROMPT]",
		GroupID: groupRun,
		Short:   "Answer a question, or continue a text",
		Long: `Run prints what a model says to a prompt, as it comes: an answer, through the
chat template of a model that has one, else, and with --raw or --ids, what
follows the text.

The prompt is the PROMPT argument, --text, --file or --ids; without any of them,
and for PROMPT or --file -, it is read from standard input, and if that is a
terminal run is chat. The text goes to standard output, what it took to standard
error. A terminal shows what the model thought before it answered, or the text
that it continues, dimmed. With --json one object is printed when the text is
complete.

What is exact: in the modes dense and gate the text is that of the full model,
whatever the budget. In mode predicted neurons that the predictor does not ask
for are left out, so that the text may differ. Mode auto is predicted where the
model's sidecar says that this holds --quality, and in models without a sidecar
whose neurons take 128 MiB or more; else it is gate. The same request gets the
same text whatever the budget and whatever ran before.

Where no flag says otherwise, tokens are chosen as the model's makers say in its
generation_config.json; without one the likeliest is taken each time.

Without --budget and --gpu-cache-ratio tiny runs with 58 % of its weights in
fast memory, other models with all of them or as much as 80 % of what is free.
Without --ctx the context is what the prompt and --max-tokens need.`,
		Example: `  sparseflow run tiny "Once upon a time"
  sparseflow run tiny "Once upon a time" --mode dense --max-tokens 40 --stats
  sparseflow run tiny --budget 80MB --gpu-cache-ratio 0.3 "The old man said"
  sparseflow run tiny --temperature 0.8 --top-p 0.95 --seed 7 "Once upon a time"
  sparseflow run tiny --file story.txt --stats
  echo "Once upon a time" | sparseflow run tiny --json
  sparseflow run tiny --ids 2,83,1703,553,262,583`,
		Args: argsNamed(1, "MODEL", "PROMPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd, &f, args)
		},
	}
	f.add(cmd)
	return cmd
}

// add declares the flags for cmd.
func (f *runFlags) add(cmd *cobra.Command) {
	f.text.add(cmd)
	f.text.addIDs(cmd)
	cmd.Flags().BoolVar(&f.raw, "raw", false, "continue the text, also where the model has a chat template")
	f.talk.add(cmd)
	f.model.add(cmd, sparseflow.Auto)
	f.model.addRun(cmd)
	addSampling(cmd, &f.asked)
}

func (a *app) run(cmd *cobra.Command, f *runFlags, args []string) error {
	ctx := cmd.Context()
	model := args[0]
	request, err := f.request(a, cmd)
	if err != nil {
		return err
	}
	in, err := f.text.read(a, cmd, "PROMPT", args[1:], true)
	if err != nil {
		return err
	}
	ask := in.from == "" && isTerminal(a.stdin.from)
	switch {
	case ask && f.model.json:
		return usagef(cmd, "got --json but no prompt, want PROMPT, --text, --file, --ids or standard input")
	case !ask && in.ids == nil && in.text == "":
		return usagef(cmd, "got no prompt and nothing on standard input, want PROMPT, --text, --file or --ids")
	}
	if ask {
		return a.chat(cmd, f, model)
	}
	if err := f.setDefaults(cmd, model, in); err != nil {
		return err
	}
	request.MaxTokens = f.asked.MaxTokens
	return a.with(cmd, model, &f.model, true, in.ids == nil, func(eng *sparseflow.Engine) error {
		a.asPublished(cmd, eng, &request)
		return a.answerOnce(ctx, eng, f, request, in)
	})
}

// request is all of a request but its prompt.
func (f *runFlags) request(a *app, cmd *cobra.Command) (sparseflow.Request, error) {
	r := f.asked
	r.Sampling.Seed = f.model.seed
	if !cmd.Flags().Changed("seed") {
		r.Sampling.Seed = a.random()
	}
	if r.MaxTokens < 0 {
		return r, usagef(cmd, "--max-tokens: got %d, want 0 or more", r.MaxTokens)
	}
	if err := r.Sampling.Validate(); err != nil {
		return r, usagef(cmd, "%v", err)
	}
	return r, nil
}

// runJSON is what run --json prints.
type runJSON struct {
	Schema       int       `json:"schema"`
	PromptIDs    []int32   `json:"prompt_ids"`
	IDs          []int32   `json:"ids"`
	Text         string    `json:"text"`
	Reasoning    string    `json:"reasoning,omitempty"` // before an answer
	FinishReason string    `json:"finish_reason"`
	Note         string    `json:"note,omitempty"` // why the text is shorter than was asked for
	Stats        statsJSON `json:"stats"`
}

// answerOnce continues one text and tells what it took.
func (a *app) answerOnce(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, in input) error {
	if f.answers {
		c, err := f.talk.conversation(in.text)
		if err != nil {
			return err
		}
		_, res, err := a.answer(ctx, eng, f, r, c)
		if err == nil {
			a.tellStats(eng, f, r, res.Stats)
		}
		return rawHint(err)
	}
	if !f.model.json {
		a.printDimmed(promptText(eng, in))
	}
	res, err := a.generate(ctx, eng, f, r, in)
	if err != nil {
		return err
	}
	a.tellStats(eng, f, r, res.Stats)
	return nil
}

// tellStats says what a text took, as far as the flags have it.
func (a *app) tellStats(eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, s sparseflow.Stats) {
	switch {
	case f.model.stats:
		statsTable(a.stderr, s, eng, "seed", fmt.Sprint(r.Sampling.Seed))
	case !f.model.json:
		summary(a.stderr, s, eng)
	}
}

// promptText is the prompt as text, empty where a model without a tokenizer got
// ids.
func promptText(eng *sparseflow.Engine, in input) string {
	if in.ids == nil || eng.Tokenizer() == nil {
		return in.text
	}
	return eng.Tokenizer().Decode(in.ids, true)
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
			a.printText(s)
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
	return res, a.conclude(eng, f, r, res, sparseflow.Message{Content: res.Text}, cutNote(eng, res, r.MaxTokens))
}

// conclude tells why a text is shorter than was asked for and, with --json, the
// text.
func (a *app) conclude(eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, res *sparseflow.Result, text sparseflow.Message, note string) error {
	if note != "" {
		fmt.Fprintln(a.stderr, "note:", note)
	}
	if !f.model.json {
		return nil
	}
	return a.printJSON(runJSON{
		Schema:       schema,
		PromptIDs:    res.PromptIDs,
		IDs:          append([]int32{}, res.IDs...),
		Text:         text.Content,
		Reasoning:    text.Reasoning,
		FinishReason: string(res.Finish),
		Note:         note,
		Stats:        newStatsJSON(res.Stats, r.Sampling.Seed, eng),
	})
}

// cutNote says that the context, not --max-tokens, ended a text, and what to
// do; it is empty where it did not.
func cutNote(eng *sparseflow.Engine, res *sparseflow.Result, maxTokens int) string {
	if res.Finish != sparseflow.FinishLength || len(res.IDs) >= maxTokens {
		return ""
	}
	n, most := eng.Placement().Context, eng.Profile().MaxPositions
	note := fmt.Sprintf("the text ends because the context of %s is full", count(n, "token"))
	if n < most {
		return note + fmt.Sprintf("; raise --ctx, at most to %d", most)
	}
	return note + ", the longest of this model; give it a shorter prompt"
}
