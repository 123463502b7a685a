// Package chart draws the project's figures as SVG, all of one look: a sweep of
// budgets, a profile, and what lives in which tier.
//
//	err := chart.Save("speed.svg", chart.Sweep(results))
package chart

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

// Sizes, in pixels.
const (
	margin      = 16
	wide        = 760 // a drawing of one thing
	letter      = 6   // about a letter's width
	titleLetter = 9   // the same of the title
	lineHeight  = 18
	plotHeight  = 240
	axisWidth   = 52 // for the labels of the vertical axis
	ticks       = 5
)

// Colours stay apart in grey and for the colour-blind (after Okabe and Ito,
// 2008).
const (
	blue   = "#0072b2"
	red    = "#d55e00"
	orange = "#e69f00"
	green  = "#009e73"
	grey   = "#bbbbbb"
)

const dashed = ` stroke-dasharray="6 3"`

// Drawing is a figure under its title.
type Drawing struct {
	body          strings.Builder
	width, height int // height: of what is drawn so far
}

// newDrawing is a drawing of nothing but its title.
func newDrawing(title string, width int) *Drawing {
	d := &Drawing{width: width, height: margin}
	line := ""
	for _, word := range strings.Fields(title) {
		if line != "" && titleLetter*utf8.RuneCountInString(line+word) > width-2*margin {
			d.titleLine(line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	d.titleLine(line)
	return d
}

func (d *Drawing) titleLine(text string) {
	d.height += lineHeight
	d.text(margin, float64(d.height), `font-size="15" font-weight="bold"`, text)
}

// Write writes the drawing as a file.
func (d *Drawing) Write(w io.Writer) error {
	height := d.height + margin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, d.width, height, d.width, height, d.body.String())
	return err
}

// Save writes a drawing into the file at path.
func Save(path string, d *Drawing) error {
	if err := atomicfile.Write(path, d.Write); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}

func (d *Drawing) text(x, y float64, style, text string) {
	fmt.Fprintf(&d.body, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, style, html.EscapeString(text))
}

func (d *Drawing) rect(x, y, width, height float64, colour string) {
	fmt.Fprintf(&d.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, colour)
}

func (d *Drawing) path(points, colour, style string) {
	fmt.Fprintf(&d.body, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", points, colour, style)
}

// panel is one chart with axes from 0 to xMax and yMax.
type panel struct {
	xMax, yMax float64

	d                *Drawing
	left, top, width float64 // of the plot itself
	legendX, legendY float64 // of the next entry
}

// panels adds charts beside each other, with axes from 0 to 1. Under each there
// is room for the labels of its axis and for the given lines of a legend.
func (d *Drawing) panels(legendLines int, titles ...string) []*panel {
	var list []*panel
	each := (d.width - margin) / len(titles)
	top := float64(d.height + 2*lineHeight)
	for i, title := range titles {
		p := &panel{xMax: 1, yMax: 1, d: d, left: float64(margin + i*each + axisWidth), top: top, width: float64(each - axisWidth - 3*margin/2)} // its last label ends beyond it
		p.legendX, p.legendY = p.left, p.bottom()+3.5*lineHeight
		d.text(p.left, top-10, `font-weight="bold"`, title)
		list = append(list, p)
	}
	d.height += 2*lineHeight + plotHeight + (2+legendLines)*lineHeight + lineHeight/2
	return list
}

func (p *panel) bottom() float64 { return p.top + plotHeight }

// x is where v lies on the horizontal axis.
func (p *panel) x(v float64) float64 { return p.left + p.width*v/p.xMax }

// y is where v lies on the vertical axis.
func (p *panel) y(v float64) float64 { return p.top + plotHeight*(1-v/p.yMax) }

// axis draws the lines of the vertical axis and labels them with their values
// times factor.
func (p *panel) axis(format string, factor float64) {
	for i := range ticks + 1 {
		v := p.yMax * float64(i) / ticks
		fmt.Fprintf(&p.d.body, `<path d="M%.1f %.1fh%.1f" stroke="%s" stroke-width="0.5"/>`, p.left, p.y(v), p.width, grey)
		p.d.text(p.left-6, p.y(v)+4, `text-anchor="end"`, fmt.Sprintf(format, factor*v))
	}
}

// below writes a label under the horizontal axis, in its first or second line.
func (p *panel) below(v float64, line int, text string) {
	p.d.text(p.x(v), p.bottom()+float64(line*lineHeight), `text-anchor="middle"`, text)
}

// sharesBelow labels the horizontal axis as shares of what.
func (p *panel) sharesBelow(what string) {
	for i := range ticks + 1 {
		v := float64(i) / ticks
		p.below(v, 1, fmt.Sprintf("%.0f %%", 100*v))
	}
	p.below(p.xMax/2, 2, what)
}

// line draws a curve through points. With a name it gets an entry in the legend,
// which lies under the axis, where no curve comes.
func (p *panel) line(xs, ys []float64, name, colour, style string) {
	var points strings.Builder
	for i := range xs {
		fmt.Fprintf(&points, "%c%.1f %.1f", "ML"[min(i, 1)], p.x(xs[i]), p.y(ys[i]))
	}
	p.d.path(points.String(), colour, style)
	if name == "" {
		return
	}
	size := float64(26 + letter*utf8.RuneCountInString(name) + margin)
	if p.legendX > p.left && p.legendX+size > p.left+p.width {
		p.legendX, p.legendY = p.left, p.legendY+lineHeight
	}
	p.d.path(fmt.Sprintf("M%.1f %.1fh20", p.legendX, p.legendY-4), colour, style)
	p.d.text(p.legendX+26, p.legendY, "", name)
	p.legendX += size
}

// dots marks the points of a curve, which are what was measured.
func (p *panel) dots(xs, ys []float64, colour string) {
	for i := range xs {
		fmt.Fprintf(&p.d.body, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", p.x(xs[i]), p.y(ys[i]), colour)
	}
}

// above is the least of some round figures, whose fifths are round too, that is
// not below v.
func above(v float64) float64 {
	for nice := 1e-4; ; nice *= 10 {
		for _, m := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 7.5} {
			if nice*m >= v {
				return nice * m
			}
		}
	}
}
