package placement

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
)

// Sizes of the drawing, in pixels.
const (
	svgWidth  = 760
	svgBar    = 34 // height of a tier's bar
	svgRow    = 18 // height of a legend line
	svgMargin = 16
)

// svgColours fill the items of the tiers in turn; they stay apart in grey and
// for the colour-blind (after Okabe and Ito, 2008).
var svgColours = [...]string{
	"#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#009e73", "#f0e442", "#999999", "#bbbbbb", "#dddddd",
	"#d55e00", "#8c510a",
}

// SVG draws the tiers: a bar each, to one scale, with a legend of the items.
func (p *Placement) SVG(w io.Writer, title string) error {
	var b strings.Builder
	scale := int64(1)
	for _, t := range p.Tiers {
		scale = max(scale, t.Bytes)
	}
	y := svgMargin + svgRow
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="15" font-weight="bold">%s</text>`+"\n", svgMargin, y, html.EscapeString(title))
	colour := 0
	for _, t := range p.Tiers {
		y += svgRow + svgMargin/2
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s: %s</text>`+"\n", svgMargin, y, html.EscapeString(t.Name), config.FormatSize(t.Bytes))
		y += svgRow / 2
		x := float64(svgMargin)
		first := colour
		for _, it := range shown(t) {
			width := float64(svgWidth-2*svgMargin) * float64(it.Bytes) / float64(scale)
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x, y, width, svgBar, svgColours[colour%len(svgColours)])
			x += width
			colour++
		}
		y += svgBar
		for i, it := range shown(t) {
			y += svgRow
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="11" height="11" fill="%s"/>`, svgMargin, y-10, svgColours[(first+i)%len(svgColours)])
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, svgMargin+18, y, html.EscapeString(it.What))
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", svgMargin+360, y, config.FormatSize(it.Bytes))
		}
	}
	height := y + svgMargin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, svgWidth, height, svgWidth, height, b.String())
	return err
}

// shown is the items of a tier that are not empty.
func shown(t Tier) []Item {
	var items []Item
	for _, it := range t.Items {
		if it.Bytes > 0 {
			items = append(items, it)
		}
	}
	return items
}
