package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/lab/bench"
	"github.com/sparseflow/sparseflow/internal/lab/profile"
)

// label is a text of a drawing and where it begins or, with an anchor, stands.
type label struct {
	text, anchor string
	x, y         float64
}

// labels reads a drawing, which must be well-formed and hold all its texts.
func labels(t *testing.T, d *Drawing) (list []label) {
	t.Helper()
	var b strings.Builder
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	var at *label
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for dec := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		switch token := token.(type) {
		case xml.StartElement:
			if at = nil; token.Name.Local != "text" {
				continue
			}
			list = append(list, label{})
			at = &list[len(list)-1]
			for _, a := range token.Attr {
				switch a.Name.Local {
				case "x":
					at.x = number(a.Value)
				case "y":
					at.y = number(a.Value)
				case "text-anchor":
					at.anchor = a.Value
				}
			}
		case xml.CharData:
			if at != nil {
				at.text += string(token)
			}
		case xml.EndElement:
			at = nil
		}
	}
	for _, l := range list {
		if l.y < 0 || l.y > float64(d.height) || l.x < 0 || l.x > float64(d.width-margin) {
			t.Errorf("%q lies at %v, %v, outside the drawing of %d x %d", l.text, l.x, l.y, d.width, d.height)
		}
	}
	return list
}

// find is the label of a text.
func find(t *testing.T, list []label, text string) label {
	t.Helper()
	for _, l := range list {
		if l.text == text {
			return l
		}
	}
	t.Fatalf("got no %q among %+v", text, list)
	return label{}
}

func has(list []label, text string) bool {
	for _, l := range list {
		if l.text == text {
			return true
		}
	}
	return false
}

// Curves lie where the axes say, and the legend where no curve comes: under the
// labels of the axis, an entry beside the other, as wide as the plot at most.
func TestPanel(t *testing.T) {
	d := newDrawing(`a <b> & "c"`, wide)
	p := d.panels(3, "one > two")[0]
	p.yMax = 40
	p.axis("%.0f", 1)
	p.sharesBelow("of <all>")
	for _, name := range []string{"x & y", "second", strings.Repeat("third ", 16)} {
		p.line([]float64{0, 1}, []float64{0, 40}, name, green, dashed)
	}
	list := labels(t, d)
	for _, want := range []string{`a <b> & "c"`, "one > two", "40", "60 %"} {
		find(t, list, want)
	}
	axis, first, second, third := find(t, list, "of <all>"), find(t, list, "x & y"), find(t, list, "second"), find(t, list, strings.Repeat("third ", 16))
	if first.y <= axis.y || second.y != first.y || second.x <= first.x || third.y <= first.y || third.x != first.x {
		t.Errorf("got legend entries at %+v, %+v and %+v, want them below %+v, the third on a line of its own", first, second, third, axis)
	}
	if x, y := p.x(1)-p.x(0), p.y(0)-p.y(40); x != p.width || y != plotHeight {
		t.Errorf("got axes of %v and %v, want %v and %v", x, y, p.width, plotHeight)
	}
	if right := p.left + p.width; right < 0.94*wide {
		t.Errorf("got a plot that ends at %v of %d", right, wide)
	}
}

// A title that is wider than the drawing goes on in the next line.
func TestLongTitle(t *testing.T) {
	list := labels(t, newDrawing(strings.Repeat("long title ", 12), wide))
	if len(list) != 2 || list[1].y <= list[0].y {
		t.Errorf("got %+v, want two lines", list)
	}
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.svg")
	if err := Save(path, newDrawing("a", wide)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), "<svg ") {
		t.Errorf("got %.20q, %v", b, err)
	}
	if err := Save(filepath.Join(path, "b.svg"), newDrawing("a", wide)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// A chart is published: it names the model, not where somebody keeps it. There
// are lines of those modes alone that were measured.
func TestSweep(t *testing.T) {
	tg := bench.Test{N: 128}
	list := labels(t, Sweep(&bench.Results{
		Model: filepath.Join("somebody", "a <b.sflow"), DType: "f16", Machine: "m",
		Sweep: []bench.Row{{Test: tg, BudgetShare: 0.2, TokS: 1}, {Test: tg, BudgetShare: 1, TokS: 4}},
		Rows:  []bench.Row{{Test: bench.Test{Prompt: true, N: 512}, Mode: bench.Dense, TokS: 100}, {Test: tg, Mode: bench.Dense, TokS: 3}},
	}))
	for _, want := range []string{"a <b.sflow, f16, on m", "dense, all in memory", "sparse", "5"} {
		find(t, list, want)
	}
	if has(list, "resident, all in memory") {
		t.Error("got a line of a mode that was not measured")
	}
	labels(t, Sweep(&bench.Results{})) // nothing to draw
}

func TestProfile(t *testing.T) {
	r := &profile.Report{Layers: []profile.Layer{{Stats: profile.Stats{Active: 0.031}}, {Stats: profile.Stats{Active: 0.06}}}, Curve: []float64{0.5, 0.8, 1}}
	if has(labels(t, Profile("tiny <&>", r)), "optimal") {
		t.Error("got miss rates that nobody knows")
	}
	all := []float64{0.5, 0}
	r.Mean.Misses = &profile.Misses{Cache: []float64{0.5, 1}, LFU: all, LRU: all, FrozenHot: all, Optimal: all}
	list := labels(t, Profile("tiny <&>", r))
	for _, want := range []string{"tiny <&>", "active share by layer", "activations by the hottest neurons", "miss rate by cache size", "optimal", "7.5 %"} {
		find(t, list, want)
	}
}

// The tiers name all that there is, and nothing that there is not.
func TestTiers(t *testing.T) {
	list := labels(t, Tiers("m, budget 58%", &sparseflow.Placement{Tiers: []sparseflow.Tier{
		{Name: "fast (RAM)", Bytes: 3e6, Items: []sparseflow.Item{{What: "slots", Bytes: 2e6}, {What: "nothing"}, {What: "KV cache", Bytes: 1e6}}},
		{Name: "slow", Bytes: 1e6, Items: []sparseflow.Item{{What: "rest", Bytes: 1e6}}},
	}}))
	for _, want := range []string{"m, budget 58%", "fast (RAM): 3.00 MB", "slots", "2.00 MB", "KV cache", "rest"} {
		find(t, list, want)
	}
	if has(list, "nothing") {
		t.Error("what there is none of is in the drawing")
	}
}

func TestAbove(t *testing.T) {
	for v, want := range map[float64]float64{0: 1e-4, 0.06: 0.075, 1: 1, 12.6: 15, 31: 40, 80: 100} {
		if got := above(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("%v: got %v, want %v", v, got, want)
		}
	}
}
