package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/table"
)

func (a *app) scoreCommand() *cobra.Command {
	var m modelFlags
	var t textFlags
	var logits bool
	cmd := &cobra.Command{
		Use:     "score MODEL (--ids IDS | --text STRING | --file FILE)",
		GroupID: groupRun,
		Short:   "Tell how likely a model finds a text",
		Long: `Score prints the log-probability (natural logarithm) of every token of a text
given the tokens before it. The first token has none. A text, given by --text,
--file or standard input, gets the model's begin-of-text token before it; ids
are taken as they are.

Score computes every neuron (--mode dense) and keeps keys and values as float32
(--kv f32), which is exact, unless another mode or type is asked for; then it
tells what that makes of the text.`,
		Example: `  sparseflow score tiny --text "Once upon a time"
  sparseflow score tiny --ids 2,83,1703,553,262,583 --json --logits
  sparseflow score tiny --text "Once upon a time" --mode predicted --budget 58%`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := t.read(a, cmd, "", nil, true)
			if err != nil {
				return err
			}
			if in.from == "" {
				return usagef(cmd, "got no text, want --ids, --text, --file or standard input")
			}
			return a.score(cmd, &m, args[0], in, logits)
		},
	}
	t.add(cmd)
	t.addIDs(cmd)
	cmd.Flags().BoolVar(&logits, "logits", false, "add the logits after the last token (with --json)")
	m.add(cmd, sparseflow.Dense)
	m.addRun(cmd)
	// A score is exact unless it is told otherwise: every neuron, and keys and
	// values as they are computed.
	m.kv = "f32"
	cmd.Flags().Lookup("kv").DefValue = m.kv
	return cmd
}

// scoreJSON is what score --json prints. Logprobs[i] is of IDs[i] given what
// precedes it; the first is null.
type scoreJSON struct {
	Schema   int        `json:"schema"`
	IDs      []int32    `json:"ids"`
	Logprobs []*float64 `json:"logprobs"`
	Logits   []float32  `json:"logits,omitempty"` // [vocab]
}

func (a *app) score(cmd *cobra.Command, m *modelFlags, model string, in input, logits bool) error {
	return a.with(cmd, model, m, false, in.ids == nil, func(eng *sparseflow.Engine) error {
		ids, err := idsOf(eng, in)
		if err != nil {
			return err
		}
		s, err := eng.Score(cmd.Context(), ids)
		if err != nil {
			return err
		}
		if err := checkFinite(s); err != nil {
			return err
		}
		return a.printScore(eng, m, s, logits)
	})
}

// checkFinite refuses what JSON cannot say and no healthy model computes.
func checkFinite(s *sparseflow.Score) error {
	for i, v := range s.Logprobs {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("score: log-probability of token %d: got %v, want a finite number; the model's weights are damaged", i, v)
		}
	}
	for id, v := range s.Logits {
		if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("score: logit of token id %d: got %v, want a finite number; the model's weights are damaged", id, v)
		}
	}
	return nil
}

func (a *app) printScore(eng *sparseflow.Engine, m *modelFlags, s *sparseflow.Score, logits bool) error {
	if m.stats {
		defer statsTable(a.stderr, s.Stats, eng)
	}
	if m.json {
		out := scoreJSON{Schema: schema, IDs: s.IDs, Logprobs: make([]*float64, len(s.IDs))}
		for i := range s.IDs {
			if i > 0 {
				out.Logprobs[i] = &s.Logprobs[i]
			}
		}
		if logits {
			out.Logits = s.Logits
		}
		return a.printJSON(out)
	}
	t := table.Table{Right: []bool{true, true}}
	t.Add("id", "logprob", "text")
	sum := 0.0
	for i, id := range s.IDs {
		logprob := "-"
		if i > 0 {
			logprob = fmt.Sprintf("%.4f", s.Logprobs[i])
			sum += s.Logprobs[i]
		}
		t.Add(fmt.Sprint(id), logprob, tokenText(eng.Tokenizer(), id))
	}
	t.Print(a.stdout)
	if n := len(s.IDs) - 1; n > 0 {
		fmt.Fprintf(a.stdout, "perplexity %.4f over %s\n", math.Exp(-sum/float64(n)), count(n, "token"))
	}
	if logits {
		fmt.Fprintln(a.stdout, "logits", s.Logits)
	}
	return nil
}

// tokenText is the text of a token in quotes, or nothing without a tokenizer.
func tokenText(t *sparseflow.Tokenizer, id int32) string {
	if t == nil {
		return ""
	}
	s, ok := t.Token(id)
	if !ok {
		return ""
	}
	return strconv.Quote(s)
}
