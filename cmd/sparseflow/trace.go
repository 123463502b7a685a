package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

// replayShares are the sizes of cache that a trace is judged at, in shares of
// all neurons.
var replayShares = [...]float64{0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6}

// replayGap is what is worth reading to save a read: what a disk of 0.95 GB/s
// and 57,000 reads a second moves meanwhile.
const replayGap = 16 << 10

// profileShare is the share of a trace, as its inverse, that stands for a
// profile where there is none.
const profileShare = 4

// replayJSON is what replaying a trace prints as JSON.
type replayJSON struct {
	Schema   int         `json:"schema"`
	Trace    trace.Info  `json:"trace"`
	Steps    int         `json:"steps"`
	Wanted   float64     `json:"wanted"` // mean share of neurons that a step wanted
	Profile  string      `json:"profile"`
	GapBytes int64       `json:"gap_bytes"` // of neighbours whose reads are joined
	Cold     []trace.Row `json:"cold"`      // without a profile
	Rows     []trace.Row `json:"rows"`      // with it
	Equal    []trace.Row `json:"equal"`     // with it, but each layer with the same slots
}

// replayTrace judges the policies by the trace at path. seen is a profile of
// the model on another text; where there is none, the first quarter of the
// trace serves as one for the rest of it.
func (a *app) replayTrace(path string, seen *cache.Counts, asJSON bool) error {
	t, err := trace.Load(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("trace: replay: %w", err)
	}
	out := replayJSON{Schema: schema, Trace: t.Info, Wanted: t.Wanted(), Profile: "of another text", GapBytes: replayGap}
	rest := t
	if seen == nil {
		warm := t.Steps() / profileShare
		if warm == 0 {
			return fmt.Errorf("trace: replay %s: got %s, want at least %d", path, count(t.Steps(), "step"), profileShare)
		}
		seen, rest = t.Profile(warm)
		out.Profile = fmt.Sprintf("the first %s", count(warm, "step"))
	}
	out.Steps = rest.Steps()
	if err := a.judge(&out, t, rest, seen, info.Size()); err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(out)
	}
	printReplay(a.stdout, path, out)
	return nil
}

// judge fills in the rows: a profile's by the steps of rest, the others, whose
// caches begin empty, by all of t but those that warm them up. bytes is the size
// of the trace, for progress.
func (a *app) judge(out *replayJSON, t, rest *trace.Trace, seen *cache.Counts, bytes int64) error {
	bar := a.newProgress()
	defer bar.close()
	replays := []struct {
		rows *[]trace.Row
		t    *trace.Trace
		o    trace.Options
	}{
		{&out.Cold, t, trace.Options{Policies: cache.PolicyNames(), Skip: t.Steps() / profileShare}},
		{&out.Rows, rest, trace.Options{Policies: cache.PolicyNames(), Seen: seen}},
		{&out.Equal, rest, trace.Options{Policies: []string{cache.DefaultPolicy}, Seen: seen, Equal: true}},
	}
	for i, r := range replays {
		r.o.Shares, r.o.Gap = replayShares[:], replayGap
		r.o.Progress = func(done, total int64) {
			bar.report("replaying", (int64(i)*bytes+done*bytes/total)/int64(len(replays)), bytes)
		}
		var err error
		if *r.rows, err = trace.Replay(r.t, r.o); err != nil {
			return err
		}
	}
	return nil
}

func printReplay(w io.Writer, path string, r replayJSON) {
	fmt.Fprintf(w, "%s: %s, %s\n", path, r.Trace.Model, r.Trace.Text)
	fmt.Fprintf(w, "%d layers of %d neurons, of which a token wants %.2f %%\n", r.Trace.Layers, r.Trace.FFN, 100*r.Wanted)
	fmt.Fprintf(w, "\nmisses a token, in shares of all neurons, by the share that has slots; profile: %s, judged on %s\n", r.Profile, count(r.Steps, "step"))
	t := replayTable()
	t.misses("", r.Rows)
	t.misses(" equal layers", r.Equal)
	t.print(w)
	fmt.Fprintf(w, "\nthe same without a profile, after a quarter of the trace\n")
	t = replayTable()
	t.misses("", r.Cold)
	t.print(w)
	fmt.Fprintf(w, "\nreads a token with %s, neighbours within %s joined\n", cache.DefaultPolicy, config.FormatSize(r.GapBytes))
	t = replayTable()
	t.line(cache.DefaultPolicy, r.Rows, "not joined", func(x trace.Row) string {
		return fmt.Sprintf("%.1f", x.Misses*float64(r.Trace.Layers*r.Trace.FFN))
	})
	t.line(cache.DefaultPolicy, r.Rows, "source order", func(x trace.Row) string { return fmt.Sprintf("%.1f", x.Reads) })
	t.line(cache.DefaultPolicy, r.Rows, "hot first", func(x trace.Row) string { return fmt.Sprintf("%.1f", *x.ReadsHot) })
	t.print(w)
}

// replayRows is a table with a column for each size of cache.
type replayRows struct{ table }

func replayTable() *replayRows {
	t := &replayRows{table{right: []bool{false}}}
	head := []string{"slots"}
	for _, share := range replayShares {
		t.right = append(t.right, true)
		head = append(head, fmt.Sprintf("%.0f %%", 100*share))
	}
	t.add(head...)
	return t
}

// misses adds a line for each policy, the bounds only where the rows are all
// policies'.
func (t *replayRows) misses(note string, rows []trace.Row) {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Policy) && (note == "" || slices.Contains(cache.PolicyNames(), r.Policy)) {
			names = append(names, r.Policy)
		}
	}
	for _, name := range names {
		t.line(name, rows, name+note, func(r trace.Row) string { return fmt.Sprintf("%.3f %%", 100*r.Misses) })
	}
}

// line adds a line of one policy's figures.
func (t *replayRows) line(policy string, rows []trace.Row, name string, cell func(trace.Row) string) {
	cells := []string{name}
	for _, r := range rows {
		if r.Policy == policy {
			cells = append(cells, cell(r))
		}
	}
	t.add(cells...)
}
