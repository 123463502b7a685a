package chart

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
)

// Row is one budget of a comparison with another engine. What was not measured is 0.
type Row struct {
	Share float64 // of the model's size
	TokS  float64 // the median run's
	Bound float64 // tokens/s at which memory and disk bring that run's bytes
	Hits  float64 // share of units that were in memory
	Other float64 // the other engine's best tokens/s
}

// ReadCompared reads the CSV file of scripts/moe-compare.sh, a row for each run.
func ReadCompared(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.ReuseRecord = '#', true
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("draw: %s: got no line of columns: %w", path, err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	for _, name := range []string{"budget_share", "engine", "tok_s", "bound_tok_s", "hit_rate"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("draw: %s: got no column %q, want a file of scripts/moe-compare.sh", path, name)
		}
	}
	all := map[float64]*runs{}
	for {
		record, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return sumUp(all), nil
		case err != nil:
			return nil, fmt.Errorf("draw: %s: %w", path, err)
		}
		number := func(name string) (v float64) {
			if s := record[column[name]]; s != "" && err == nil {
				v, err = strconv.ParseFloat(s, 64)
			}
			return v
		}
		run := Row{Share: number("budget_share") / 100, TokS: number("tok_s"), Bound: number("bound_tok_s"), Hits: number("hit_rate")}
		if line, _ := r.FieldPos(0); err != nil || !(run.Share > 0 && run.Share <= 1) || !(run.TokS >= 0 && run.Bound >= 0 && run.Hits >= 0) {
			return nil, fmt.Errorf("draw: %s: line %d: got figures that are no numbers or out of range, want shares to 100 and speeds", path, line)
		}
		add(all, run, record[column["engine"]] == "sparseflow")
	}
}

// runs are those of one budget.
type runs struct {
	own   []Row
	other float64
}

func add(all map[float64]*runs, run Row, own bool) {
	at := all[run.Share]
	if at == nil {
		at = new(runs)
		all[run.Share] = at
	}
	switch {
	case !own:
		at.other = max(at.other, run.TokS)
	case run.TokS > 0:
		at.own = append(at.own, run)
	}
}

// sumUp is each budget's median run and the other engine's best, by budget.
func sumUp(all map[float64]*runs) (rows []Row) {
	for share, at := range all {
		row := Row{Share: share}
		if n := len(at.own); n > 0 {
			slices.SortFunc(at.own, func(a, b Row) int { return cmp.Compare(a.TokS, b.TokS) })
			row = at.own[(n-1)/2]
		}
		row.Other = at.other
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Share, b.Share) })
	return rows
}

// Compared draws tokens/s by budget beside the bound and llama.cpp, and the hit rate.
func Compared(title string, rows []Row) *Drawing {
	d := newDrawing(title+", by budget", 3*wide/2)
	p := d.panels(1, "tokens/s", "hit rate: experts that were in memory")
	speed, hits := p[0], p[1]
	most := 0.0
	for _, r := range rows {
		most = max(most, r.TokS, r.Bound, r.Other)
	}
	speed.yMax = above(max(1.02*most, 1e-3))
	speed.axis("%.3g", 1)
	hits.axis("%.0f %%", 100)
	for _, q := range p {
		q.sharesBelow("budget, share of the file")
	}
	curve := func(p *panel, name, colour, style string, of func(Row) float64) {
		var xs, ys []float64
		for _, r := range rows {
			if v := of(r); v > 0 {
				xs, ys = append(xs, r.Share), append(ys, v)
			}
		}
		if len(xs) > 0 {
			p.line(xs, ys, name, colour, style)
			p.dots(xs, ys, colour)
		}
	}
	curve(speed, "SparseFlow", blue, "", func(r Row) float64 { return r.TokS })
	curve(speed, "bound", green, dashed, func(r Row) float64 { return r.Bound })
	curve(speed, "llama.cpp", red, "", func(r Row) float64 { return r.Other })
	curve(hits, "", blue, "", func(r Row) float64 { return r.Hits })
	return d
}
