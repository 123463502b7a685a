package chart

import (
	"fmt"
	"path/filepath"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
)

// Sweep draws tokens/s of a sweep by share of the weights, beside those of modes
// with everything in memory, which are the same at any budget. The title names
// the model, and not the directory where somebody keeps it. Of a mixture of experts
// the bound and the hit rate are drawn too.
func Sweep(r *bench.Results) *Drawing {
	title := filepath.Base(r.Model) + ", " + r.DType + ", on " + r.Machine
	if r.Limits.Experts {
		var rows []Row
		for _, row := range r.Sweep {
			if row.Test == r.Sweep[0].Test {
				rows = append(rows, Row{Share: row.BudgetShare, TokS: row.TokS, Bound: row.BoundTokS, Hits: row.HitRate})
			}
		}
		return Compared(title, rows)
	}
	d := newDrawing(title, wide)
	p := d.panels(1, "tokens/s by budget")[0]
	var xs, ys []float64
	most := 0.0
	for _, row := range r.Sweep {
		if row.Test == r.Sweep[0].Test {
			xs, ys = append(xs, row.BudgetShare), append(ys, row.TokS)
			most = max(most, row.TokS)
		}
	}
	level := map[bench.Mode]float64{}
	for _, row := range r.Rows {
		if len(r.Sweep) > 0 && row.Test == r.Sweep[0].Test && !row.Mode.Budgeted() {
			level[row.Mode] = row.TokS
			most = max(most, row.TokS)
		}
	}
	p.yMax = above(1.05 * most)
	p.axis("%.4g", 1)
	p.sharesBelow("budget, share of the weights")
	if len(xs) > 0 {
		p.line(xs, ys, "sparse", blue, "")
	}
	for _, m := range []struct {
		mode   bench.Mode
		colour string
	}{{bench.Resident, green}, {bench.Dense, red}} {
		if v, ok := level[m.mode]; ok {
			p.line([]float64{0, 1}, []float64{v, v}, string(m.mode)+", all in memory", m.colour, dashed)
		}
	}
	return d
}

// Profile draws a report: the active share by layer, how much the hottest
// neurons give, and miss rates by size of the cache.
func Profile(title string, r *profile.Report) *Drawing {
	d := newDrawing(title, 3*wide/2)
	p := d.panels(1, "active share by layer", "activations by the hottest neurons", "miss rate by cache size")
	drawActive(p[0], r)
	drawCurve(p[1], r)
	drawMisses(p[2], r)
	return d
}

func drawActive(p *panel, r *profile.Report) {
	p.yMax = 0.01
	for _, l := range r.Layers {
		p.yMax = max(p.yMax, above(l.Active))
	}
	p.xMax = float64(len(r.Layers))
	p.axis("%.3g %%", 100)
	step := (len(r.Layers) + 11) / 12
	for i, l := range r.Layers {
		x, y := p.x(float64(i)+0.15), p.y(l.Active)
		p.d.rect(x, y, p.x(float64(i)+0.85)-x, p.bottom()-y, blue)
		if i%step == 0 {
			p.below(float64(i)+0.5, 1, fmt.Sprint(i))
		}
	}
	p.below(p.xMax/2, 2, "layer")
}

func drawCurve(p *panel, r *profile.Report) {
	p.axis("%.0f %%", 100)
	p.sharesBelow("share of neurons")
	const points = 300 // about one each pixel
	xs, ys := []float64{0}, []float64{0}
	n := len(r.Curve)
	for i := 1; i <= points; i++ {
		if k := n * i / points; k > 0 {
			xs, ys = append(xs, float64(k)/float64(n)), append(ys, r.Curve[k-1])
		}
	}
	p.line(xs, ys, "", blue, "")
}

func drawMisses(p *panel, r *profile.Report) {
	p.axis("%.0f %%", 100)
	p.sharesBelow("share of neurons in the cache")
	m := r.Mean.Misses
	if m == nil {
		return
	}
	p.line(m.Cache, m.LFU, "lfu", blue, "")
	p.line(m.Cache, m.LRU, "lru", red, "")
	p.line(m.Cache, m.FrozenHot, "frozen", orange, dashed) // often over lru's
	p.line(m.Cache, m.Optimal, "optimal", green, "")
}

// Tiers draws what lives where: a bar for each tier, all to one scale, and under
// it what its parts are.
func Tiers(title string, p *sparseflow.Placement) *Drawing {
	colours := [...]string{blue, "#56b4e9", "#cc79a7", orange, green, "#f0e442", "#999999", grey, "#dddddd", red, "#8c510a"}
	const barHeight, column = 34, (wide - 3*margin) / 2
	d := newDrawing(title, wide)
	scale := int64(1)
	for _, t := range p.Tiers {
		scale = max(scale, t.Bytes)
	}
	colour := 0
	for _, t := range p.Tiers {
		d.height += lineHeight + margin/2
		d.text(margin, float64(d.height), `font-weight="bold"`, t.Name+": "+config.FormatSize(t.Bytes))
		d.height += lineHeight / 2
		bar, x := float64(d.height), float64(margin)
		d.height += barHeight
		shown := 0
		for _, it := range t.Items {
			if it.Bytes == 0 {
				continue
			}
			fill := colours[colour%len(colours)]
			width := float64(wide-2*margin) * float64(it.Bytes) / float64(scale)
			d.rect(x, bar, width, barHeight, fill)
			x += width
			// Two columns of names, filled line by line.
			at := float64(margin + shown%2*(column+margin))
			if shown%2 == 0 {
				d.height += lineHeight
			}
			y := float64(d.height)
			d.rect(at, y-10, 11, 11, fill)
			d.text(at+18, y, "", it.What)
			d.text(at+column, y, `text-anchor="end"`, config.FormatSize(it.Bytes))
			shown++
			colour++
		}
	}
	return d
}
