package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/lab/chart"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/mirror"
	sampletext "github.com/sparseflow/sparseflow/models/text"
)

// profileFlags are the flags of profile alone.
type profileFlags struct {
	file, svg   string
	ids, replay string
	maxTokens   int
}

func (a *app) profileCommand() *cobra.Command {
	var m modelFlags
	var f profileFlags
	cmd := &cobra.Command{
		Use:     "profile MODEL [--file FILE]",
		GroupID: groupTool,
		Short:   "Show which neurons of a model fire on a text, or which experts",
		Long: `Profile runs a text through a model, computing every neuron, and prints for each
layer: the share of neurons that are active at a token; the smallest shares of
neurons that give 80 % and 95 % of all activations, corrected for how seldom the
rare ones are seen; how many active neurons the token before did not have, and
how large the union of 5 and 10 tokens is, in sets of one; the cosine of the
MLP's input with that of the layer before, and with its forecast from before
attention; and how often a wanted neuron is missing from a cache of 10 to 100 %
of the layer's neurons, with the policies lfu, lru and frozen (the hottest stay) and
with the best that foresight could do.

The text is cut into windows of one token less than the context, and must fill
one. Without --max-tokens the first 16,384 tokens are taken, of a large model
fewer. How often each neuron fired is stored beside the pack, for a later run
to know the hot ones. Only models with ReLU have neurons that do not fire.

Of a mixture of experts the first 256 tokens are decoded one by one, and each layer's
use of its experts is printed: its entropy, as a share of the most that it could
have; the share of the 8 most used; how many experts have half of all use, and how
many any; the share of a token's experts that the token 1 to 32 before had; and how
often an expert is found in an LRU cache, by slots of the layer, after 32 tokens.
With --replay that is told of a trace (bench --trace, or a routing trace as CSV),
without a model.`,
		Example: `  sparseflow profile tiny
  sparseflow profile tiny --file book.txt
  sparseflow profile tiny --max-tokens 2000 --svg tiny.svg --json
  sparseflow profile MOE.gguf --file book.txt --max-tokens 500
  sparseflow profile --replay qwen.route.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.replay != "" {
				return argsNamed(0)(cmd, args)
			}
			return argsNamed(1, "MODEL")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.replay != "" {
				if f.file != "" || f.ids != "" || f.svg != "" || f.maxTokens != 0 {
					return usagef(cmd, "--replay: got --file, --ids, --svg or --max-tokens too, want the whole trace alone")
				}
				return a.profileTrace(&m, f.replay)
			}
			return a.profile(cmd, args[0], &m, f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.file, "file", "", "the text, a `file` in UTF-8; default: a bundled sample of books, and for a synthetic model token ids drawn by Zipf's law")
	fs.StringVar(&f.ids, "ids", "", "the text as token ids, a `file` with spaces, commas or line ends between them")
	fs.StringVar(&f.replay, "replay", "", "without a model, tell of the trace of experts in this `file`")
	fs.IntVar(&f.maxTokens, "max-tokens", 0, "profile at most the first `n` tokens of a text; 0: by the model's size")
	fs.StringVar(&f.svg, "svg", "", "also draw the figures into this `file`")
	m.add(cmd, sparseflow.Gate)
	return cmd
}

func (a *app) profile(cmd *cobra.Command, model string, m *modelFlags, f profileFlags) error {
	s, err := f.settings(a, cmd, model, m)
	if err != nil {
		return err
	}
	run, err := profile.Prepare(s)
	if err != nil {
		return err
	}
	bar := a.newProgress()
	defer bar.close()
	for _, n := range run.Notices {
		bar.note(n)
	}
	if run.Mixture() {
		return a.profileExperts(cmd, m, f, run, bar)
	}
	rep, stored, err := run.Do(cmd.Context(), convert.Options{Notify: bar.note, Progress: bar.report})
	bar.close()
	if err != nil {
		return err
	}
	if f.svg != "" {
		title := fmt.Sprintf("%s, %s", model, count(rep.Tokens, "token"))
		if err := chart.Save(f.svg, chart.Profile(title, rep)); err != nil {
			return err
		}
	}
	if m.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else {
		rep.Print(a.stdout, fmt.Sprintf("%s: %s of %s", model, count(rep.Tokens, "token"), run.Text))
	}
	info, err := os.Stat(stored)
	if err != nil {
		return fmt.Errorf("profile: store: %w", err)
	}
	bar.note(fmt.Sprintf("how often each neuron fired is in %s (%s)", stored, config.FormatSize(info.Size())))
	return nil
}

// profileExperts prints how a mixture of experts uses its experts.
func (a *app) profileExperts(cmd *cobra.Command, m *modelFlags, f profileFlags, run *profile.Run, bar *progress) error {
	if f.svg != "" {
		return usagef(cmd, "--svg: got a mixture of experts, want a model with ReLU: there is no picture of experts")
	}
	rep, err := run.Experts(cmd.Context(), convert.Options{Notify: bar.note, Progress: bar.report})
	bar.close()
	if err != nil {
		return err
	}
	return a.printExperts(m, rep)
}

// profileTrace prints how the experts of a trace are used.
func (a *app) profileTrace(m *modelFlags, path string) error {
	t, err := trace.Load(path)
	if err != nil {
		return err
	}
	rep, err := profile.AnalyseExperts(t)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return a.printExperts(m, rep)
}

func (a *app) printExperts(m *modelFlags, rep *profile.ExpertReport) error {
	if m.json {
		return a.printJSON(rep)
	}
	rep.Print(a.stdout, fmt.Sprintf("%s: %s of %s", rep.Model, count(rep.Tokens, "token"), rep.Text))
	return nil
}

// settings is the flags and the text that they name.
func (f *profileFlags) settings(a *app, cmd *cobra.Command, model string, m *modelFlags) (s profile.Settings, err error) {
	s = profile.Settings{
		Model: model, CacheDir: m.cacheDir, MaxTokens: f.maxTokens,
		Text: profile.Text{Name: "the bundled sample", Text: sampletext.Sample}, Drawn: f.file == "",
	}
	strategy, err := m.strategy(cmd)
	if err != nil {
		return s, err
	}
	s.Strategy = mirror.To[config.OffloadStrategy](strategy)
	switch {
	case f.maxTokens < 0:
		return s, usagef(cmd, "--max-tokens: got %d, want 0 or more", f.maxTokens)
	case strategy.Mode != sparseflow.Dense && strategy.Mode != sparseflow.Gate:
		return s, usagef(cmd, "--mode: got %s, want dense or gate, which compute every neuron", strategy.Mode)
	}
	switch {
	case f.ids != "" && f.file != "":
		return s, usagef(cmd, "--ids: got --file too, want one of them")
	case f.ids != "":
		model, err := profileOf(model, m.cacheDir)
		if err != nil {
			return s, err
		}
		ids, err := bench.ReadText(f.ids, model, 0)
		if err != nil {
			return s, err
		}
		s.IDs, s.Text.Name = ids.IDs, ids.Name
	case f.file != "":
		s.Text.Name = f.file
		if s.Text.Text, err = a.readUTF8("--file", f.file); err != nil {
			return s, err
		}
	}
	return s, nil
}
