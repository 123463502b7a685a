package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// A drawing is well-formed, whatever the names, and its curves lie where the
// axes say.
func TestDrawing(t *testing.T) {
	d := New(`a <b> & "c"`)
	p := d.Panel("one > two")
	p.YMax = 40
	p.Axis("%.0f", 1)
	p.SharesBelow("of <all>")
	p.Line([]float64{0, 1}, []float64{0, 40}, Blue, "")
	p.Bar(0.25, 0.5, 20, Red)
	p.Legend(0.1, "x & y", Green, ` stroke-dasharray="6 3"`)
	d.Panel("beside")
	var b strings.Builder
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
	}
	if x, y := p.X(1)-p.X(0), p.Y(0)-p.Y(40); x != Width || y != Height {
		t.Errorf("got axes of %v and %v, want %v and %v", x, y, float64(Width), float64(Height))
	}
	for _, want := range []string{`d="M68.0 304.0L368.0 64.0"`, `x="143.0" y="184.0" width="75.0" height="120.0"`, ">40<", ">60 %<", "x &amp; y"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got no %s in\n%s", want, b.String())
		}
	}
}

// A title that is wider than the panels is not cut off.
func TestLongTitle(t *testing.T) {
	var b strings.Builder
	d := New(strings.Repeat("x", 100))
	d.Panel("")
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	if want := `viewBox="0 0 932 `; !strings.Contains(b.String(), want) {
		t.Errorf("got no %s in\n%s", want, b.String())
	}
}
