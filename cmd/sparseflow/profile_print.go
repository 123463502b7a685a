package main

import (
	"fmt"
	"io"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
)

// profileJSON is what profile --json prints. Figures that could not be told
// are null.
type profileJSON struct {
	Schema         int                `json:"schema"`
	Tokens         int                `json:"tokens"`
	ReplayedTokens int                `json:"replayed_tokens"` // that new_per_token, union and misses are of
	AgainstTokens  int                `json:"against_tokens,omitempty"`
	Layers         []profileLayerJSON `json:"layers"`
	Mean           profile.Stats      `json:"mean"`
}

type profileLayerJSON struct {
	Layer int `json:"layer"`
	profile.Stats
}

func newProfileJSON(r *profile.Report) profileJSON {
	out := profileJSON{
		Schema: schema, Tokens: r.Tokens, ReplayedTokens: r.ReplayedTokens, AgainstTokens: r.AgainstTokens,
		Layers: []profileLayerJSON{}, Mean: r.Mean,
	}
	for l, s := range r.Layers {
		out.Layers = append(out.Layers, profileLayerJSON{l, s})
	}
	return out
}

// writeReportSVG draws a report.
func writeReportSVG(path, title string, r *profile.Report) error {
	err := atomicfile.Write(path, func(w io.Writer) error {
		return r.SVG(w, title)
	})
	if err != nil {
		return fmt.Errorf("profile: draw: %w", err)
	}
	return nil
}

func printProfile(w io.Writer, title string, r *profile.Report) {
	fmt.Fprintf(w, "%s\n\n", title)
	t := table{right: make([]bool, 16)}
	for i := range t.right {
		t.right[i] = true
	}
	head := []string{"layer", "active", "80 % by", "95 % by", "new", "union 5", "union 10", "cos before", "cos ahead"}
	if r.AgainstTokens > 0 {
		head = append(head, "covered", "by own", "jaccard", "spearman")
	}
	t.add(head...)
	for l, s := range r.Layers {
		t.add(profileCells(fmt.Sprint(l), s, r.AgainstTokens > 0)...)
	}
	t.add(profileCells("mean", r.Mean, r.AgainstTokens > 0)...)
	t.print(w)
	if m := r.Mean.Misses; m != nil {
		fmt.Fprintf(w, "\nwanted neurons that a cache would miss, first %s\n", count(r.ReplayedTokens, "token"))
		c := table{right: t.right}
		c.add("cache", "lfu", "lru", "frozen", "optimal")
		for i, share := range m.Cache {
			c.add(fmt.Sprintf("%.0f %%", 100*share), share100(m.LFU[i]), share100(m.LRU[i]), share100(m.FrozenHot[i]), share100(m.Optimal[i]))
		}
		c.print(w)
	}
}

// profileCells is a row of the table.
func profileCells(name string, s profile.Stats, against bool) []string {
	cells := []string{
		name, fmt.Sprintf("%.3f %%", 100*s.Active),
		cell("%.1f %%", s.Hot80, 100), cell("%.1f %%", s.Hot95, 100),
		cell("%.1f", s.New, 1), cell("%.2f", s.Union5, 1), cell("%.2f", s.Union10, 1),
		cell("%.4f", s.CosPrevious, 1), cell("%.4f", s.CosLookahead, 1),
	}
	switch o := s.Against; {
	case against && o == nil:
		cells = append(cells, "-", "-", "-", "-")
	case against:
		cells = append(cells, share100(o.Covered), share100(o.Own), fmt.Sprintf("%.3f", o.Jaccard), fmt.Sprintf("%.3f", o.Spearman))
	}
	return cells
}

// cell is a figure times a factor, or a dash where there is none.
func cell(format string, v *float64, factor float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, factor**v)
}

func share100(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
