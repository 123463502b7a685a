package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	sampletext "github.com/sparseflow/sparseflow/models/text"
)

// profileKeepBytes is the memory for the sets of active neurons that misses
// and reuse are told from: 87,000 tokens of the embedded model, 1,024 of
// OPT-6.7B.
const profileKeepBytes = 64 << 20

// profileFlags are the flags of profile alone.
type profileFlags struct {
	file, against, svg string
	maxTokens          int
}

func (a *app) profileCommand() *cobra.Command {
	var m modelFlags
	var f profileFlags
	cmd := &cobra.Command{
		Use:     "profile MODEL [--file FILE]",
		GroupID: groupTool,
		Short:   "Show which neurons of a model fire on a text",
		Long: `Profile runs a text through a model, computing every neuron, and prints for each
layer: the share of neurons that are active at a token; the smallest shares of
neurons that give 80 % and 95 % of all activations, corrected for how seldom the
rare ones are seen; how many active neurons the token before did not have, and
how large the union of 5 and 10 tokens is, in sets of one; the cosine of the
MLP's input with that of the layer before, and with its forecast from before
attention; and how often a wanted neuron is missing from a cache of 10 to 100 %
of the layer's neurons, with the policies lfu, lru and frozen (the hottest stay) and
with the best that foresight could do.

With --against a second text is run too, and the hot neurons of both are
compared: the share of the second's activations that the hottest 20 % of the
first give, beside what its own hottest give, and Jaccard index and rank
correlation.

The text is cut into windows of one token less than the context, and must fill
one. Without --max-tokens the first 16,384 tokens are taken, of a large model
fewer. How often each neuron fired is stored beside the pack, for a later run
to know the hot ones. Only models with ReLU have neurons that do not fire.`,
		Example: `  sparseflow profile tiny
  sparseflow profile tiny --file book.txt --against other.txt
  sparseflow profile tiny --max-tokens 2000 --svg tiny.svg --json`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.profile(cmd, args[0], &m, f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.file, "file", "", "the text, a `file` in UTF-8; default: a bundled sample of books, and for a synthetic model token ids drawn by Zipf's law")
	fs.StringVar(&f.against, "against", "", "compare with this text, a `file` in UTF-8")
	fs.IntVar(&f.maxTokens, "max-tokens", 0, "profile at most the first `n` tokens of a text; 0: by the model's size")
	fs.StringVar(&f.svg, "svg", "", "also draw the figures into this `file`")
	m.add(cmd, sparseflow.Gate)
	return cmd
}

// profiling is a run of profile, checked before anything is converted or
// loaded.
type profiling struct {
	src      hub.Source
	model    sparseflow.ModelProfile
	strategy sparseflow.OffloadStrategy
	keep     int64 // bytes for the sets of active neurons
	heap     int64 // bytes for them and for what else is recorded
	window   int
	ids      []int32 // of the text
	text     string  // what it is called
	against  []int32 // nil: no second text
	bytes    int64   // of both texts, about
	notices  []string
}

func (a *app) profile(cmd *cobra.Command, model string, m *modelFlags, f profileFlags) error {
	ctx := cmd.Context()
	p, err := a.prepareProfile(cmd, model, m, f)
	if err != nil {
		return err
	}
	bar := a.newProgress()
	defer bar.close()
	for _, n := range p.notices {
		bar.note(n)
	}
	if n := profile.DefaultTokens(p.model); f.maxTokens == 0 && n == len(p.ids) {
		bar.note(fmt.Sprintf("profiling the first %s of %s; --max-tokens takes more or fewer", count(n, "token"), p.text))
	}
	limitToConvert()
	pk, err := convert.Open(ctx, p.src, m.cacheDir, convert.Options{Notify: bar.note, Progress: bar.report})
	if err != nil {
		return err
	}
	path, source := pk.Path(), pk.SourceSHA256()
	rep, err := p.measure(ctx, pk, bar)
	if err != nil {
		return err
	}
	if f.svg != "" {
		if err := writeReportSVG(f.svg, fmt.Sprintf("%s, %s", model, count(rep.Tokens, "token")), rep); err != nil {
			return err
		}
	}
	if m.json {
		err = a.printJSON(newProfileJSON(rep))
	} else {
		printProfile(a.stdout, fmt.Sprintf("%s: %s of %s", model, count(rep.Tokens, "token"), p.text), rep)
	}
	if err != nil {
		return err
	}
	return storeCounts(ctx, rep.Counts(), path, m.cacheDir, source, bar)
}

// prepareProfile checks what can be checked from headers and the texts.
func (a *app) prepareProfile(cmd *cobra.Command, model string, m *modelFlags, f profileFlags) (*profiling, error) {
	p := &profiling{text: "the bundled sample"}
	var err error
	if p.strategy, err = m.strategy(cmd); err != nil {
		return nil, err
	}
	switch {
	case f.maxTokens < 0:
		return nil, usagef(cmd, "--max-tokens: got %d, want 0 or more", f.maxTokens)
	case p.strategy.Mode != sparseflow.Dense && p.strategy.Mode != sparseflow.Gate:
		return nil, usagef(cmd, "--mode: got %s, want dense or gate, which compute every neuron", p.strategy.Mode)
	}
	text := sampletext.Sample
	if f.file != "" {
		p.text = f.file
		if text, err = a.readUTF8("--file", f.file); err != nil {
			return nil, err
		}
	}
	against := ""
	if f.against != "" {
		if against, err = a.readUTF8("--against", f.against); err != nil {
			return nil, err
		}
	}
	if p.src, err = hub.Find(model); err != nil {
		return nil, err
	}
	layout, err := convert.Layout(p.src)
	if err != nil {
		return nil, err
	}
	p.model = layout.Profile()
	if err := profile.Check(p.model); err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	place, err := engine.Plan(layout, engine.Options{Strategy: p.strategy})
	if err != nil {
		return nil, err
	}
	p.notices = place.Notices
	tokens := f.maxTokens
	if tokens == 0 {
		tokens = profile.DefaultTokens(p.model)
	}
	p.window = profile.Window(p.model, place.Context, tokens)
	if p.model.Synthetic && f.file == "" && f.against == "" {
		p.text, p.ids, p.bytes = drawnText, drawnIDs(p.model.VocabSize, tokens), int64(4*tokens)
		p.reserve(place)
		return p, nil
	}
	tok, err := sparseflow.LoadTokenizer(model)
	if err != nil {
		return nil, err
	}
	if p.ids, err = p.tokenize(tok, text, p.text, tokens); err != nil {
		return nil, err
	}
	if f.against != "" {
		if p.against, err = p.tokenize(tok, against, f.against, tokens); err != nil {
			return nil, err
		}
	}
	p.reserve(place)
	return p, nil
}

// tokenize is the first tokens of a text, at least a window of them.
func (p *profiling) tokenize(tok *sparseflow.Tokenizer, text, name string, tokens int) ([]int32, error) {
	ids := tok.Encode(text, false)
	if len(ids) < p.window {
		return nil, fmt.Errorf("profile: %s: got a text of %s, want at least one window of %d (see --ctx)", name, count(len(ids), "token"), p.window)
	}
	n := min(tokens, len(ids))
	p.bytes += int64(len(text)) * int64(n) / int64(len(ids))
	return slices.Clone(ids[:n]), nil // the rest of a long text is let go
}

// recordHeapBytes is the heap that recording takes besides counts and sets;
// with less the collector would run all the time.
const recordHeapBytes = 4 << 20

// reserve decides how much is recorded. Under a budget of bytes that is taken
// from what the slots would have, as far as the smallest budget leaves it;
// otherwise it comes on top.
func (p *profiling) reserve(place *sparseflow.Placement) {
	p.keep = min(profileKeepBytes, profile.KeptBytes(p.model, len(p.ids)))
	p.heap = profile.CountBytes(p.model) + recordHeapBytes
	if p.against != nil {
		p.heap += profile.CountBytes(p.model)
	}
	if b := &p.strategy.Budget; b.Bytes > 0 {
		spare := b.Bytes - place.Process.MinimumBytes
		p.heap = min(p.heap, spare)
		p.keep = min(p.keep, spare-p.heap)
		b.Bytes -= p.heap + p.keep
	}
	p.heap += p.keep
}

// measure runs the texts through the model of pk, which it closes.
func (p *profiling) measure(ctx context.Context, pk *pack.Pack, bar *progress) (*profile.Report, error) {
	var model int64 // bytes of memory outside the heap
	pr, err := profile.Open(ctx, pk, engine.Options{
		Strategy: p.strategy,
		Progress: func(done, total int64) { bar.report("loading", done, total) },
		Planned: func(place *sparseflow.Placement) {
			model = place.MemoryBytes
			limitToPlan(place)
			debug.SetMemoryLimit(debug.SetMemoryLimit(-1) + p.heap)
		},
	})
	if err != nil {
		return nil, err
	}
	rec, err := pr.Record(ctx, p.input(p.ids, p.keep, 0, bar))
	var other *profile.Recording
	if err == nil && p.against != nil {
		other, err = pr.Record(ctx, p.input(p.against, 0, len(p.ids), bar))
	}
	// The replay may have the memory that was the model's.
	if err := errors.Join(err, pr.Close()); err != nil {
		return nil, err
	}
	debug.SetMemoryLimit(debug.SetMemoryLimit(-1) + model)
	rep := profile.Analyse(rec, func(done, total int64) { bar.report("replaying", done*p.keep/total, p.keep) })
	if other != nil {
		err = rep.Compare(other)
	}
	return rep, err
}

// input is a text to record. Progress is told in bytes of both texts; before is
// how many tokens were recorded already.
func (p *profiling) input(ids []int32, keep int64, before int, bar *progress) profile.Input {
	share := float64(p.bytes) / float64(len(p.ids)+len(p.against))
	return profile.Input{IDs: ids, Window: p.window, KeepBytes: keep, Progress: func(done, total int64) {
		tokens := float64(before) + float64(len(ids))*float64(done)/float64(total)
		bar.report("profiling", int64(share*tokens), p.bytes)
	}}
}

// storeCounts adds the counts to the sidecar of a pack.
func storeCounts(ctx context.Context, c *cache.Counts, path, cacheDir, source string, bar *progress) error {
	cacheDir, err := hub.CacheDir(cacheDir)
	if err != nil {
		return err
	}
	side, err := sidecar.PathFor(path, cacheDir, source)
	if err != nil {
		return err
	}
	section, err := c.Section()
	if err != nil {
		return err
	}
	err = sidecar.Update(ctx, side, source, func(s *sidecar.Sidecar) *sidecar.Sidecar {
		return s.With(cache.CountsSection, section)
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(side)
	if err != nil {
		return fmt.Errorf("profile: store: %w", err)
	}
	bar.note(fmt.Sprintf("how often each neuron fired is in %s (%s)", side, config.FormatSize(info.Size())))
	return nil
}
