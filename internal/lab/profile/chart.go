package profile

import (
	"fmt"
	"io"

	"github.com/sparseflow/sparseflow/internal/lab/chart"
)

// SVG draws the report: the active share by layer, how much the hottest
// neurons give, and miss rates by size of the cache.
func (r *Report) SVG(w io.Writer, title string) error {
	d := chart.New(title)
	r.drawActive(d.Panel("active share by layer"))
	r.drawCurve(d.Panel("activations by the hottest neurons"))
	r.drawMisses(d.Panel("miss rate by cache size"))
	return d.Write(w)
}

// percentAxis labels the vertical axis as shares.
func percentAxis(p *chart.Panel) {
	format := "%.0f %%"
	if p.YMax < 0.1 {
		format = "%.1f %%"
	}
	p.Axis(format, 100)
}

func (r *Report) drawActive(p *chart.Panel) {
	p.YMax = 0.01
	for _, l := range r.Layers {
		for l.Active > p.YMax {
			p.YMax += 0.01
		}
	}
	p.XMax = float64(len(r.Layers))
	percentAxis(p)
	step := (len(r.Layers) + 11) / 12
	for i, l := range r.Layers {
		p.Bar(float64(i)+0.15, float64(i)+0.85, l.Active, chart.Blue)
		if i%step == 0 {
			p.Below(p.X(float64(i)+0.5), 1, fmt.Sprint(i))
		}
	}
	p.Below(p.X(p.XMax/2), 2, "layer")
}

// curvePoints is how many points of the curve are drawn, one each pixel.
const curvePoints = chart.Width

func (r *Report) drawCurve(p *chart.Panel) {
	percentAxis(p)
	p.SharesBelow("share of neurons")
	xs, ys := []float64{0}, []float64{0}
	n := len(r.Curve)
	for i := 1; i <= curvePoints; i++ {
		if k := n * i / curvePoints; k > 0 {
			xs, ys = append(xs, float64(k)/float64(n)), append(ys, r.Curve[k-1])
		}
	}
	p.Line(xs, ys, chart.Blue, "")
}

func (r *Report) drawMisses(p *chart.Panel) {
	percentAxis(p)
	p.SharesBelow("share of neurons in the cache")
	m := r.Mean.Misses
	if m == nil {
		return
	}
	for _, c := range []struct {
		name, colour, style string
		rates               []float64
	}{
		{"lfu", chart.Blue, "", m.LFU},
		{"lru", chart.Red, "", m.LRU},
		{"frozen, hottest", chart.Orange, ` stroke-dasharray="6 3"`, m.FrozenHot}, // often over lru's
		{"optimal", chart.Green, "", m.Optimal},
	} {
		p.Line(m.Cache, c.rates, c.colour, c.style)
		p.Legend(0.6, c.name, c.colour, c.style)
	}
}
