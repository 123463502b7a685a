// Package chart draws panels of curves and bars as SVG: the little that the
// project's figures need, of one look.
//
//	d := chart.New("speed of a model")
//	p := d.Panel("tokens/s by budget")
//	p.YMax = 40
//	p.Axis("%.0f", 1)
//	p.SharesBelow("budget")
//	p.Line(xs, ys, chart.Blue, "")
//	err := d.Write(w)
package chart

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// Sizes of the drawing, in pixels.
const (
	margin      = 16
	titleHeight = 44
	titleLetter = 9   // wide, on average at most
	Width       = 300 // of a panel's plot
	Height      = 240 // of a panel's plot
	left        = 52  // for the labels of the vertical axis
	bottom      = 42  // for those of the horizontal axis
	ticks       = 5
	lineHeight  = 18
)

// Colours stay apart in grey and for the colour-blind (after Okabe and Ito,
// 2008).
const (
	Blue   = "#0072b2"
	Red    = "#d55e00"
	Orange = "#e69f00"
	Green  = "#009e73"
	Grey   = "#bbbbbb"
)

// Drawing is panels beside each other under a title.
type Drawing struct {
	body   strings.Builder
	panels int
	title  int // width, about
}

// New is a drawing without panels.
func New(title string) *Drawing {
	d := &Drawing{title: utf8.RuneCountInString(title) * titleLetter}
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" font-size="15" font-weight="bold">%s</text>`+"\n", margin, margin+15, html.EscapeString(title))
	return d
}

// Write writes the drawing as a file.
func (d *Drawing) Write(w io.Writer) error {
	width := max(d.title, d.panels*(left+Width)+d.panels*margin) + 2*margin // a label ends beyond its axis
	height := titleHeight + 20 + Height + bottom + margin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, width, height, width, height, d.body.String())
	return err
}

// Panel is one chart with axes from 0 to XMax and YMax.
type Panel struct {
	XMax, YMax float64

	to        *strings.Builder
	left, top float64 // of the plot itself
	legend    int     // entries so far
}

// Panel adds a panel to the right, with axes from 0 to 1.
func (d *Drawing) Panel(title string) *Panel {
	p := &Panel{1, 1, &d.body, float64(margin + left + d.panels*(left+Width+margin)), titleHeight + 20, 0}
	d.panels++
	fmt.Fprintf(p.to, `<text x="%.0f" y="%.0f" font-weight="bold">%s</text>`+"\n", p.left, p.top-10, html.EscapeString(title))
	return p
}

// X is where v lies on the horizontal axis.
func (p *Panel) X(v float64) float64 { return p.left + Width*v/p.XMax }

// Y is where v lies on the vertical axis.
func (p *Panel) Y(v float64) float64 { return p.top + Height*(1-v/p.YMax) }

// Axis draws the lines of the vertical axis and labels them with their values
// times factor.
func (p *Panel) Axis(format string, factor float64) {
	for i := range ticks + 1 {
		v := p.YMax * float64(i) / ticks
		fmt.Fprintf(p.to, `<path d="M%.1f %.1fh%d" stroke="%s" stroke-width="0.5"/>`, p.left, p.Y(v), Width, Grey)
		fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", p.left-6, p.Y(v)+4, html.EscapeString(fmt.Sprintf(format, factor*v)))
	}
}

// Below writes a label under the horizontal axis, in its first or second line.
func (p *Panel) Below(x float64, line int, text string) {
	fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, p.top+Height+float64(line)*lineHeight, html.EscapeString(text))
}

// SharesBelow labels the horizontal axis as shares of what.
func (p *Panel) SharesBelow(what string) {
	for i := range ticks + 1 {
		v := float64(i) / ticks
		p.Below(p.X(v), 1, fmt.Sprintf("%.0f %%", 100*v))
	}
	p.Below(p.X(p.XMax/2), 2, what)
}

// Bar draws a bar of height v between two places of the horizontal axis.
func (p *Panel) Bar(from, to, v float64, colour string) {
	top := p.Y(v)
	fmt.Fprintf(p.to, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
		p.X(from), top, p.X(to)-p.X(from), p.Y(0)-top, colour)
}

// Line draws a curve through points. style is further attributes.
func (p *Panel) Line(xs, ys []float64, colour, style string) {
	var d strings.Builder
	for i := range xs {
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], p.X(xs[i]), p.Y(ys[i]))
	}
	fmt.Fprintf(p.to, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", d.String(), colour, style)
}

// Legend names a curve, from a place of the horizontal axis on, below the
// names before.
func (p *Panel) Legend(from float64, name, colour, style string) {
	y := p.top + 14 + lineHeight*float64(p.legend)
	p.legend++
	fmt.Fprintf(p.to, `<path d="M%.1f %.1fh20" stroke="%s" stroke-width="2"%s/>`, p.X(from), y-4, colour, style)
	fmt.Fprintf(p.to, `<text x="%.1f" y="%.1f">%s</text>`+"\n", p.X(from)+26, y, html.EscapeString(name))
}
