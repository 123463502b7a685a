package profile

import (
	"fmt"
	"io"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/table"
)

// Print writes the report for people.
func (r *Report) Print(w io.Writer, title string) {
	fmt.Fprintf(w, "%s\n\n", title)
	type line struct {
		name string
		Stats
	}
	var lines []line
	for _, l := range r.Layers {
		lines = append(lines, line{strconv.Itoa(l.Layer), l.Stats})
	}
	lines = append(lines, line{"mean", r.Mean})
	t := table.Numbers(0)
	table.Columns(t, lines, []table.Column[line]{
		{Name: "layer", Cell: func(l line) string { return l.name }},
		{Name: "active", Cell: func(l line) string { return fmt.Sprintf("%.3f %%", 100*l.Active) }},
		{Name: "80 % by", Cell: func(l line) string { return cell("%.1f %%", l.Hot80, 100) }},
		{Name: "95 % by", Cell: func(l line) string { return cell("%.1f %%", l.Hot95, 100) }},
		{Name: "new", Cell: func(l line) string { return cell("%.1f", l.New, 1) }},
		{Name: "union 5", Cell: func(l line) string { return cell("%.2f", l.Union5, 1) }},
		{Name: "union 10", Cell: func(l line) string { return cell("%.2f", l.Union10, 1) }},
		{Name: "cos before", Cell: func(l line) string { return cell("%.4f", l.CosPrevious, 1) }},
		{Name: "cos ahead", Cell: func(l line) string { return cell("%.4f", l.CosLookahead, 1) }},
	}, true)
	t.Print(w)
	m := r.Mean.Misses
	if m == nil {
		return
	}
	fmt.Fprintf(w, "\nwanted neurons that a cache would miss, first %s\n", table.Count(r.ReplayedTokens, "token"))
	c := table.Numbers(0)
	c.Add("cache", "lfu", "lru", "frozen", "optimal")
	for i, share := range m.Cache {
		c.Add(fmt.Sprintf("%.0f %%", 100*share), table.Share(m.LFU[i]), table.Share(m.LRU[i]), table.Share(m.FrozenHot[i]), table.Share(m.Optimal[i]))
	}
	c.Print(w)
}

// cell is a figure times a factor, or a dash where there is none.
func cell(format string, v *float64, factor float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, factor**v)
}
