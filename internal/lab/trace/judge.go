package trace

import (
	"fmt"
	"io"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/table"
)

// judgedShares are the sizes of cache that a trace is judged at, in shares of
// all neurons.
var judgedShares = []float64{0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6}

// expertShares are those of experts: 8, 16, 32, 48, 64, 74 and 96 of 128.
var expertShares = []float64{0.0625, 0.125, 0.25, 0.375, 0.5, 0.58, 0.75}

const (
	// judgedGap is what is worth reading to save a read: what an NVMe disk
	// moves in the time of one read.
	judgedGap = 16 << 10
	// profileShare is the share of a trace, as its inverse, that stands for a
	// profile where there is none.
	profileShare = 4
	// coldSteps is how many tokens pass, at most half of them, before the misses
	// of caches count that began empty.
	coldSteps = 32
)

// Judgement is how the policies fare on a trace, as bench --replay --json
// prints it.
type Judgement struct {
	Schema   int     `json:"schema"`
	Trace    Info    `json:"trace"`
	Steps    int     `json:"steps"`
	Wanted   float64 `json:"wanted"` // mean share of neurons that a step wanted
	Profile  string  `json:"profile"`
	GapBytes int64   `json:"gap_bytes"` // of neighbours whose reads are joined
	Rows     []Row   `json:"rows"`      // of all policies, and of the bounds
	// Equal is of the default policy, each layer with the same slots. Experts always
	// have these.
	Equal []Row `json:"equal,omitempty"`
	// Cold is of experts in caches that begin empty, ColdSteps tokens before misses
	// count.
	Cold      []Row `json:"cold,omitempty"`
	ColdSteps int   `json:"cold_steps,omitempty"`
}

// JudgeFile judges the policies by the trace at path. seen is a profile of the
// model on another text; where there is none, the first quarter of the trace
// serves as one for the rest of it. progress is told of bytes of the trace.
func JudgeFile(path string, seen *cache.Counts, progress func(done, total int64)) (*Judgement, error) {
	t, err := Load(path)
	if err != nil {
		return nil, err
	}
	j := &Judgement{Schema: 1, Trace: t.Info, Wanted: t.Wanted(), Profile: "of another text", GapBytes: judgedGap}
	rest, warm := t, t.Steps()/profileShare
	if seen == nil {
		if warm == 0 {
			return nil, fmt.Errorf("trace: replay %s: got %s, want at least %d", path, table.Count(t.Steps(), "step"), profileShare)
		}
		seen, rest = t.Profile(warm)
		j.Profile = fmt.Sprintf("the first %s", table.Count(warm, "step"))
	}
	j.Steps = rest.Steps()
	o := Options{Policies: policies(), Shares: judgedShares, Seen: seen, Gap: judgedGap}
	if t.TopK > 0 {
		o.Shares, o.Equal = expertShares, true
	}
	done, all, bytes := int64(0), int64((len(policies())+1)*len(o.Shares)), t.bytes()
	o.Progress = func() {
		done++
		progress(done*bytes/all, bytes)
	}
	if j.Rows, err = Replay(rest, o); err != nil {
		return nil, err
	}
	if t.TopK > 0 {
		o.Policies, o.Seen, o.Before, o.Progress = coldPolicies(), nil, Before(t.Steps()), nil
		j.Cold, err = Replay(t, o)
		j.ColdSteps = o.Before
		return j, err
	}
	o.Policies, o.Equal = []string{cache.DefaultPolicy}, true
	j.Equal, err = Replay(rest, o)
	return j, err
}

// Before is how many of a trace's steps pass before the misses of caches count that
// began empty.
func Before(steps int) int { return min(coldSteps, steps/2) }

// coldPolicies are those that make something of a cache that begins empty, and the
// bound.
func coldPolicies() []string { return []string{"lfu", "lru", optimalRow} }

// policies are what a trace is judged by: the policies and the bounds.
func policies() []string { return append(cache.PolicyNames(), staticRow, optimalRow) }

// bytes is about what the trace takes in its file.
func (t *Trace) bytes() (n int64) {
	for i := range t.Sets {
		n += int64(t.Sets[i].Wanted() + t.Sets[i].Len())
	}
	return n
}

// Print writes the judgement on the trace at path for people, in 80 columns.
func (j *Judgement) Print(w io.Writer, path string) {
	fmt.Fprintln(w, table.Wrap(fmt.Sprintf("%s: %s, %s", path, j.Trace.Model, j.Trace.Text), "  "))
	if j.Trace.TopK > 0 {
		j.printExperts(w)
		return
	}
	fmt.Fprintf(w, "%d layers of %d neurons, of which a token wants %.2f %%\n", j.Trace.Layers, j.Trace.FFN, 100*j.Wanted)
	fmt.Fprintf(w, "\n%s\n", table.Wrap(fmt.Sprintf("misses a token, in %% of all neurons, by the share that has slots; profile: %s, judged on %s", j.Profile, table.Count(j.Steps, "step")), "  "))
	t := newShares(j.Rows)
	misses := func(r Row) string { return fmt.Sprintf("%.3f", 100*r.Misses) }
	for _, name := range policies() {
		t.line(name, j.Rows, name, misses)
	}
	t.line(cache.DefaultPolicy, j.Equal, cache.DefaultPolicy+", equal layers", misses)
	t.Print(w)
	fmt.Fprintf(w, "\nreads a token with %s, neighbours within %s joined\n", cache.DefaultPolicy, config.FormatSize(j.GapBytes))
	t = newShares(j.Rows)
	for _, of := range []struct {
		name  string
		reads func(Row) float64
	}{
		{"not joined", func(r Row) float64 { return r.Misses * float64(j.Trace.units()) }},
		{"source order", func(r Row) float64 { return r.Reads }},
		{"hot first", func(r Row) float64 { return r.ReadsHot }},
	} {
		t.line(cache.DefaultPolicy, j.Rows, of.name, func(r Row) string { return table.Figures(of.reads(r)) })
	}
	t.Print(w)
}

// printExperts writes hits by policy and by slots of a layer.
func (j *Judgement) printExperts(w io.Writer) {
	fmt.Fprintf(w, "%d layers of %d experts, of which a token wants %.4g\n", j.Trace.having(), j.Trace.FFN, j.Wanted*float64(j.Trace.FFN))
	for _, of := range []struct {
		title string
		rows  []Row
	}{
		{fmt.Sprintf("hits, by slots of a layer, which begin with the hottest of a profile: %s, judged on %s", j.Profile, table.Count(j.Steps, "step")), j.Rows},
		{fmt.Sprintf("hits of caches that begin empty, after %s", table.Count(j.ColdSteps, "token")), j.Cold},
	} {
		fmt.Fprintf(w, "\n%s\n", table.Wrap(of.title, "  "))
		t := table.Numbers(1)
		head := []string{"slots"}
		for _, r := range sizes(of.rows) {
			head = append(head, fmt.Sprintf("%.0f", r.Cache*float64(j.Trace.FFN)))
		}
		t.Add(head...)
		for _, name := range policies() {
			shares{t}.line(name, of.rows, name, func(r Row) string { return fmt.Sprintf("%.3f", 1-r.MissRate) })
		}
		t.Print(w)
	}
}

// sizes are the rows of the first policy, one of each size of cache.
func sizes(rows []Row) (first []Row) {
	for _, r := range rows {
		if r.Policy == rows[0].Policy {
			first = append(first, r)
		}
	}
	return first
}

// shares is a table with a column for each size of cache.
type shares struct{ *table.Table }

func newShares(rows []Row) shares {
	t := shares{table.Numbers(1)}
	head := []string{"slots"}
	for _, r := range sizes(rows) {
		head = append(head, fmt.Sprintf("%.0f %%", 100*r.Cache))
	}
	t.Add(head...)
	return t
}

// line adds a line of one policy's figures, if it has any.
func (t shares) line(policy string, rows []Row, name string, cell func(Row) string) {
	cells := []string{name}
	for _, r := range rows {
		if r.Policy == policy {
			cells = append(cells, cell(r))
		}
	}
	if len(cells) > 1 {
		t.Add(cells...)
	}
}
