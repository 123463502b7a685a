package profile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/internal/table"
)

const (
	// keepBytes is the memory for the sets of active neurons that misses and
	// reuse are told from.
	keepBytes = 64 << 20
	// recordHeapBytes is the heap that recording takes besides counts and sets;
	// with less the collector would run all the time.
	recordHeapBytes = 4 << 20
)

// DrawnText is what the token ids are called that a synthetic model is profiled
// on.
const DrawnText = "ids drawn by Zipf's law"

// Text is what a model is profiled on, and what it is called.
type Text struct{ Name, Text string }

// Settings is a profile to make.
type Settings struct {
	Model    string
	CacheDir string
	Strategy config.OffloadStrategy // of mode dense or gate
	Text     Text
	Drawn    bool // of a synthetic model: token ids are drawn in place of Text
	// IDs, if not nil, are the text in place of Text, which names it.
	IDs       []int32
	MaxTokens int // of the text; 0: by the model's size
}

// Run is a profile to make, checked before anything is converted or loaded.
type Run struct {
	Notices []string // for the user, before it begins
	Text    string   // what the text is called

	s      Settings
	src    hub.Source
	model  config.ModelProfile
	keep   int64 // bytes for the sets of active neurons
	heap   int64 // bytes for them and for what else is recorded
	window int
	ids    []int32 // of the text
	bytes  int64   // of the text, about
}

// Prepare checks what can be checked from headers and the text.
func Prepare(s Settings) (*Run, error) {
	r := &Run{s: s, Text: s.Text.Name}
	var err error
	if r.src, err = hub.FindIn(s.Model, s.CacheDir); err != nil {
		return nil, err
	}
	layout, err := convert.Layout(r.src)
	if err != nil {
		return nil, err
	}
	r.model = layout.Profile()
	if r.Mixture() {
		r.s.Strategy.Mode = config.Dense // of the experts that are chosen
	} else if err := Check(r.model); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Model, err)
	}
	place, err := engine.Plan(layout, engine.Options{Strategy: r.s.Strategy})
	if err != nil {
		return nil, err
	}
	tokens := s.MaxTokens
	switch {
	case tokens == 0 && r.Mixture():
		tokens = expertTokens
	case tokens == 0:
		tokens = DefaultTokens(r.model)
	}
	context := place.Context
	if r.Mixture() {
		context-- // for what is forced last
	}
	r.window = Window(r.model, context, tokens)
	if s.IDs != nil {
		r.ids = s.IDs[:min(tokens, len(s.IDs))]
		r.window, r.bytes = min(r.window, len(r.ids)), int64(4*len(r.ids))
	} else if r.model.Synthetic && s.Drawn {
		r.Text, r.ids, r.bytes = DrawnText, sample.DrawTokens(r.model.VocabSize, tokens, 0), int64(4*tokens)
	} else if err := r.tokenize(tokens); err != nil {
		return nil, err
	}
	r.Notices = place.Notices
	if s.MaxTokens == 0 && tokens == len(r.ids) {
		r.Notices = append(r.Notices, fmt.Sprintf("profiling the first %s of %s; --max-tokens takes more or fewer", table.Count(tokens, "token"), r.Text))
	}
	r.reserve(place)
	return r, nil
}

// tokenize sets the ids of the text.
func (r *Run) tokenize(tokens int) error {
	tok, err := sparseflow.LoadTokenizer(r.s.Model, sparseflow.WithCacheDir(r.s.CacheDir))
	if err != nil {
		return err
	}
	t := r.s.Text
	ids := tok.Encode(t.Text, false)
	if len(ids) < r.window {
		return fmt.Errorf("profile: %s: got a text of %s, want at least one window of %d (see --ctx)", t.Name, table.Count(len(ids), "token"), r.window)
	}
	r.ids = slices.Clone(ids[:min(tokens, len(ids))]) // the rest of a long text is let go
	r.bytes = int64(len(t.Text)) * int64(len(r.ids)) / int64(len(ids))
	return nil
}

// reserve decides how much is recorded. Under a budget of bytes that is taken
// from what the slots would have, as far as the smallest budget leaves it;
// otherwise it comes on top.
func (r *Run) reserve(place *placement.Placement) {
	if r.keep, r.heap = routeBytes(r.model, len(r.ids)), recordHeapBytes; !r.Mixture() {
		r.keep = min(keepBytes, KeptBytes(r.model, len(r.ids)))
		r.heap += CountBytes(r.model)
	}
	if b := &r.s.Strategy.Budget; b.Bytes > 0 {
		spare := b.Bytes - place.Process.MinimumBytes
		r.heap = min(r.heap, spare)
		r.keep = min(r.keep, spare-r.heap)
		b.Bytes -= r.heap + r.keep
	}
	r.heap += r.keep
}

// Do makes the profile and stores how often each neuron fired beside the pack,
// for a later run to know the hot ones. It holds the process's heap to the
// budget. stored is where to.
func (r *Run) Do(ctx context.Context, c convert.Options) (rep *Report, stored string, err error) {
	memory.LimitHeapToConvert()
	p, err := convert.Open(ctx, r.src, r.s.CacheDir, c)
	if err != nil {
		return nil, "", err
	}
	path, source := p.Path(), p.SourceSHA256()
	rec, err := r.record(ctx, p, c.Progress)
	if err != nil {
		return nil, "", err
	}
	rep = Analyse(rec, func(done, total int64) { c.Progress("replaying", done*r.keep/total, r.keep) })
	stored, err = store(ctx, rep.Counts(), path, r.s.CacheDir, source)
	return rep, stored, err
}

// Active is the share of each layer's neurons that is active at a token. Nothing is
// stored.
func (r *Run) Active(ctx context.Context, c convert.Options) (shares []float64, err error) {
	p, err := convert.Open(ctx, r.src, r.s.CacheDir, c)
	if err != nil {
		return nil, err
	}
	rec, err := r.record(ctx, p, c.Progress)
	if err != nil {
		return nil, err
	}
	counts := rec.Counts()
	for l := range counts.Neurons {
		shares = append(shares, counts.Active(l))
	}
	return shares, nil
}

// record runs the text through the model of p, which it closes.
func (r *Run) record(ctx context.Context, p *pack.Pack, progress func(what string, done, total int64)) (*Recording, error) {
	var mapped int64 // bytes of memory outside the heap
	pr, err := Open(ctx, p, engine.Options{
		Strategy: r.s.Strategy,
		Progress: func(done, total int64) { progress("loading", done, total) },
		Planned: func(place *placement.Placement) {
			mapped = place.MemoryBytes
			memory.LimitHeap(place.Process.BudgetBytes, mapped)
			memory.GrowHeap(r.heap)
		},
	})
	if err != nil {
		return nil, err
	}
	rec, err := pr.Record(ctx, Input{IDs: r.ids, Window: r.window, KeepBytes: r.keep, Progress: func(done, total int64) {
		progress("profiling", int64(float64(r.bytes)*float64(done)/float64(total)), r.bytes)
	}})
	// What comes after it may have the memory that was the model's.
	if err := errors.Join(err, pr.Close()); err != nil {
		return nil, err
	}
	memory.GrowHeap(mapped)
	return rec, nil
}

// store adds the counts to the sidecar of a pack.
func store(ctx context.Context, c *cache.Counts, path, cacheDir, source string) (side string, err error) {
	if cacheDir, err = hub.CacheDir(cacheDir); err != nil {
		return "", err
	}
	if side, err = sidecar.PathFor(path, cacheDir, source); err != nil {
		return "", err
	}
	section, err := c.Section()
	if err != nil {
		return "", err
	}
	return side, sidecar.Update(ctx, side, source, func(s *sidecar.Sidecar) *sidecar.Sidecar {
		return s.With(cache.CountsSection, section)
	})
}
