package bench

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Results is what a benchmark found, as bench --json prints it. The rows of an
// ablation and of a sweep are of their own.
type Results struct {
	Schema       int       `json:"schema"`
	Model        string    `json:"model"`
	Device       string    `json:"device"`
	Machine      string    `json:"machine"`
	DType        string    `json:"dtype"`
	Text         string    `json:"text"`
	Synthetic    bool      `json:"synthetic"`      // the weights
	BudgetBytes  int64     `json:"budget_bytes"`   // of the rows under the budget
	PeakRSSBytes int64     `json:"peak_rss_bytes"` // the most of these, naive apart
	Limits       Limits    `json:"limits"`
	Rows         []Row     `json:"rows"`
	Ablation     []Row     `json:"ablation,omitempty"`
	Sweep        []Row     `json:"sweep,omitempty"`
	Proof        *Proof    `json:"proof"`
	Skipped      []Skipped `json:"skipped"`
}

// Benchmark is all that bench measures of a model.
type Benchmark struct {
	Options
	Modes   []Mode
	IDsFile string    // of the text, "" for a sample
	Ablate  bool      // also what each part adds
	Sweep   []float64 // also sparse decoding with these shares of the weights as budgets

	dtype string // of the weights
}

// Prepare converts the model if need be, finds the text and measures the
// limits. c says whom to tell of the conversion.
func (b *Benchmark) Prepare(ctx context.Context, c convert.Options) (err error) {
	src, err := hub.FindIn(b.Model, b.CacheDir)
	if err != nil {
		return err
	}
	tok, err := sparseflow.LoadTokenizer(b.Model, sparseflow.WithCacheDir(b.CacheDir))
	if err != nil && !errors.Is(err, sparseflow.ErrNoTokenizer) {
		return err
	}
	var t Text
	if b.IDsFile != "" {
		t, err = ReadText(b.IDsFile, b.Profile, b.TextTokens())
	} else {
		t, err = ForcedText(b.Profile, tok, b.TextTokens())
	}
	if err != nil {
		return err
	}
	b.IDs, b.TraceText, b.Routed = t.IDs, t.Name, b.Profile.Experts() > 0
	p, err := convert.Open(ctx, src, b.CacheDir, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	b.Pack, b.dtype = p.Path(), dtypes(p.Layout)
	place, err := b.place(b.Strategy, false)
	if err != nil {
		return err
	}
	b.Free = placement.FreeBytes(os.DirFS("/"))
	b.Progress("measuring memory and disk")
	if b.Limits, err = Measure(ctx, p, b.SimDisk, place.Threads); err != nil || !b.Routed {
		return err
	}
	// A run of experts that misses is bound by the disk, whose speed changes.
	b.Measure = func(ctx context.Context) (l Limits, err error) {
		p, err := openPack(b.Pack)
		if err != nil {
			return l, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		return Measure(ctx, p, b.SimDisk, place.Threads)
	}
	return nil
}

// dtypes are the element types of a pack's weights, those of most bytes first where
// they differ within a class.
func dtypes(l *pack.Layout) string {
	if l.Bundles() == 0 {
		bytes := make(map[string]int64)
		for _, t := range l.Tensors() {
			if t.Kind == pack.Matrix {
				bytes[strings.ToLower(t.Elem.String())] += t.Bytes()
			}
		}
		return strings.Join(slices.SortedFunc(maps.Keys(bytes), func(a, b string) int { return cmp.Or(cmp.Compare(bytes[b], bytes[a]), strings.Compare(a, b)) }), ", ")
	}
	attn, mlp := strings.ToLower(l.AttnDType().String()), strings.ToLower(l.MLPDType().String())
	if attn == mlp {
		return attn
	}
	return attn + " attention, " + mlp + " MLP"
}

// Run measures what Prepare prepared.
func (b *Benchmark) Run(ctx context.Context) (*Results, error) {
	rep, err := Run(ctx, b.Options, b.Modes)
	if err != nil {
		return nil, err
	}
	out := &Results{
		Schema: 1, Model: b.Model, Device: rep.Backend, Machine: Machine(), DType: b.dtype, Text: b.TraceText, Synthetic: b.Profile.Synthetic,
		Limits: b.Limits, Rows: rep.Rows, Proof: rep.Proof, Skipped: append([]Skipped{}, rep.Skipped...),
	}
	for _, r := range rep.Rows {
		if r.Mode == Sparse {
			out.BudgetBytes, out.PeakRSSBytes = r.BudgetBytes, max(out.PeakRSSBytes, r.PeakRSSBytes)
		}
	}
	o := b.Options // the rest decodes only, and its output is held to the rows'
	o.Expect = rep.Proof
	o.Tests = slices.DeleteFunc(slices.Clone(o.Tests), func(t Test) bool { return t.Prompt })
	if b.Ablate {
		if rep, err = Run(ctx, o, Ablation()); err != nil {
			return nil, err
		}
		out.Ablation, out.Skipped = rep.Rows, append(out.Skipped, rep.Skipped...)
	}
	for _, share := range b.Sweep {
		o.Strategy.Budget, o.Strategy.GPUCacheRatio = config.Budget{Share: share}, nil
		if rep, err = Run(ctx, o, []Mode{Sparse}); err != nil {
			return nil, err
		}
		for _, r := range rep.Rows {
			r.BudgetShare = share
			out.Sweep = append(out.Sweep, r)
		}
		out.Skipped = append(out.Skipped, rep.Skipped...)
	}
	return out, nil
}
