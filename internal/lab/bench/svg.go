package bench

import (
	"io"

	"github.com/sparseflow/sparseflow/internal/lab/chart"
)

// SweepSVG draws tokens/s of the rows of a sweep by their share of the
// weights, beside those of modes with everything in memory, which are the same
// at any budget.
func SweepSVG(w io.Writer, title string, sweep, rows []Row) error {
	d := chart.New(title)
	p := d.Panel("tokens/s by budget")
	var xs, ys []float64
	most := 0.0
	for _, r := range sweep {
		if r.Test == sweep[0].Test {
			xs, ys = append(xs, r.BudgetShare), append(ys, r.TokS)
			most = max(most, r.TokS)
		}
	}
	level := map[Mode]float64{}
	for _, r := range rows {
		if len(sweep) > 0 && r.Test == sweep[0].Test && (r.Mode == Resident || r.Mode == Dense) {
			level[r.Mode] = r.TokS
			most = max(most, r.TokS)
		}
	}
	p.YMax = niceAbove(most)
	p.Axis("%.3g", 1)
	p.SharesBelow("budget, share of the weights")
	if len(xs) > 0 {
		p.Line(xs, ys, chart.Blue, "")
		p.Legend(0.02, "sparse", chart.Blue, "")
	}
	for _, m := range []Mode{Resident, Dense} {
		if v, ok := level[m]; ok {
			colour := map[Mode]string{Resident: chart.Green, Dense: chart.Red}[m]
			p.Line([]float64{0, 1}, []float64{v, v}, colour, dashed)
			p.Legend(0.02, string(m)+", all in memory", colour, dashed)
		}
	}
	return d.Write(w)
}

const dashed = ` stroke-dasharray="6 3"`

// niceAbove is the least of some round figures, whose fifths are round too, with
// a tenth of room above v.
func niceAbove(v float64) float64 {
	nice := 1e-3
	for {
		for _, m := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 7.5} {
			if nice*m >= 1.1*v {
				return nice * m
			}
		}
		nice *= 10
	}
}
