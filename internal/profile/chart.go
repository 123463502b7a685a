package profile

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	chartMargin = 16
	chartTitle  = 44 // height of the title
	panelWidth  = 300
	panelHeight = 240
	panelLeft   = 52 // for the labels of the vertical axis
	panelBottom = 42 // for those of the horizontal axis
	chartTicks  = 5
)

// Colours stay apart in grey and for the colour-blind (after Okabe and Ito,
// 2008).
const (
	colourActive  = "#0072b2"
	colourLFU     = "#0072b2"
	colourLRU     = "#d55e00"
	colourFrozen  = "#e69f00"
	colourOptimal = "#009e73"
	colourGuide   = "#bbbbbb"
)

// panel is one chart: its place, its axes' ends, and where it is drawn to.
type panel struct {
	to         *strings.Builder
	left, top  float64 // of the plot itself
	xMax, yMax float64
}

// SVG draws the report: the active share by layer, how much the hottest
// neurons give, and miss rates by size of the cache.
func (r *Report) SVG(w io.Writer, title string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="15" font-weight="bold">%s</text>`+"\n", chartMargin, chartMargin+15, html.EscapeString(title))
	r.drawActive(newPanel(&b, 0, "active share by layer"))
	r.drawCurve(newPanel(&b, 1, "activations by the hottest neurons"))
	r.drawMisses(newPanel(&b, 2, "miss rate by cache size"))
	width := 3*(panelLeft+panelWidth) + 5*chartMargin // a label ends beyond its axis
	height := chartTitle + 20 + panelHeight + panelBottom + chartMargin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, width, height, width, height, b.String())
	return err
}

// newPanel is the i-th panel from the left, with axes from 0 to 1.
func newPanel(to *strings.Builder, i int, title string) *panel {
	p := &panel{to, float64(chartMargin + panelLeft + i*(panelLeft+panelWidth+chartMargin)), chartTitle + 20, 1, 1}
	fmt.Fprintf(to, `<text x="%.0f" y="%.0f" font-weight="bold">%s</text>`+"\n", p.left, p.top-10, html.EscapeString(title))
	return p
}

func (p *panel) x(v float64) float64 { return p.left + panelWidth*v/p.xMax }
func (p *panel) y(v float64) float64 { return p.top + panelHeight*(1-v/p.yMax) }

// percentAxis draws the lines and labels of the vertical axis.
func (p *panel) percentAxis() {
	digits := 0
	if p.yMax < 0.1 {
		digits = 1
	}
	for i := range chartTicks + 1 {
		v := p.yMax * float64(i) / chartTicks
		fmt.Fprintf(p.to, `<path d="M%.1f %.1fh%d" stroke="%s" stroke-width="0.5"/>`, p.left, p.y(v), panelWidth, colourGuide)
		fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f" text-anchor="end">%.*f %%</text>`+"\n", p.left-6, p.y(v)+4, digits, 100*v)
	}
}

// below writes a label under the horizontal axis.
func (p *panel) below(x float64, line int, text string) {
	fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, p.top+panelHeight+float64(line)*18, html.EscapeString(text))
}

// sharesBelow labels the horizontal axis as shares of neurons.
func (p *panel) sharesBelow(what string) {
	for i := range chartTicks + 1 {
		v := float64(i) / chartTicks
		p.below(p.x(v), 1, fmt.Sprintf("%.0f %%", 100*v))
	}
	p.below(p.x(p.xMax/2), 2, what)
}

// line draws a curve through points. style is further attributes.
func (p *panel) line(xs, ys []float64, colour, style string) {
	var d strings.Builder
	for i := range xs {
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], p.x(xs[i]), p.y(ys[i]))
	}
	fmt.Fprintf(p.to, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", d.String(), colour, style)
}

func (r *Report) drawActive(p *panel) {
	p.yMax = 0.01
	for _, l := range r.Layers {
		for l.Active > p.yMax {
			p.yMax += 0.01
		}
	}
	p.xMax = float64(len(r.Layers))
	p.percentAxis()
	step := (len(r.Layers) + 11) / 12
	for i, l := range r.Layers {
		top := p.y(l.Active)
		fmt.Fprintf(p.to, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
			p.x(float64(i)+0.15), top, panelWidth*0.7/p.xMax, p.y(0)-top, colourActive)
		if i%step == 0 {
			p.below(p.x(float64(i)+0.5), 1, fmt.Sprint(i))
		}
	}
	p.below(p.x(p.xMax/2), 2, "layer")
}

// curvePoints is how many points of the curve are drawn, one each pixel.
const curvePoints = panelWidth

func (r *Report) drawCurve(p *panel) {
	p.percentAxis()
	p.sharesBelow("share of neurons")
	xs, ys := []float64{0}, []float64{0}
	n := len(r.Curve)
	for i := 1; i <= curvePoints; i++ {
		if k := n * i / curvePoints; k > 0 {
			xs, ys = append(xs, float64(k)/float64(n)), append(ys, r.Curve[k-1])
		}
	}
	p.line(xs, ys, colourActive, "")
}

func (r *Report) drawMisses(p *panel) {
	p.percentAxis()
	p.sharesBelow("share of neurons in the cache")
	m := r.Mean.Misses
	if m == nil {
		return
	}
	for i, c := range []struct {
		name, colour, style string
		rates               []float64
	}{
		{"lfu", colourLFU, "", m.LFU},
		{"lru", colourLRU, "", m.LRU},
		{"frozen, hottest", colourFrozen, ` stroke-dasharray="6 3"`, m.FrozenHot}, // often over lru's
		{"optimal", colourOptimal, "", m.Optimal},
	} {
		p.line(m.Cache, c.rates, c.colour, c.style)
		y := p.top + 14 + 18*float64(i)
		fmt.Fprintf(p.to, `<path d="M%.1f %.1fh20" stroke="%s" stroke-width="2"%s/>`, p.x(0.6), y-4, c.colour, c.style)
		fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f">%s</text>`+"\n", p.x(0.6)+26, y, c.name)
	}
}
