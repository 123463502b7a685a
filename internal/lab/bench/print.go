package bench

import (
	"fmt"
	"io"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/table"
)

// Print writes the results for people. Without wide the tables fit into 80
// columns and leave out figures that JSON has.
func (r *Results) Print(w io.Writer, wide bool) {
	weights := r.DType
	if r.Synthetic {
		weights += " synthetic weights"
	}
	fmt.Fprintln(w, table.Wrap(fmt.Sprintf("%s, %s, on %s (%s)", r.Model, weights, r.Device, r.Machine), "  "))
	fmt.Fprintf(w, "forced text: %s\n", r.Text)
	fmt.Fprintf(w, "%s\n\n", table.Wrap("limits: "+r.Limits.String(), "  "))
	printRows(w, r.Rows, r.Limits.Experts, wide)
	if len(r.Ablation) > 0 {
		fmt.Fprintf(w, "\nwhat each part adds\n")
		printRows(w, r.Ablation, false, wide)
	}
	if len(r.Sweep) > 0 {
		fmt.Fprintf(w, "\nby budget\n")
		printRows(w, r.Sweep, r.Limits.Experts, wide)
	}
	for _, s := range r.Skipped {
		fmt.Fprintln(w, table.Wrap(fmt.Sprintf("%s not measured: %s", s.Mode, s.Why), "  "))
	}
	printStarts(w, r.Rows)
	printQuality(w, slices.Concat(r.Rows, r.Sweep), wide)
}

// String is the limits in words.
func (l *Limits) String() string {
	disk := "disk"
	if l.Simulated != "" {
		disk = "simulated disk"
	}
	units := fmt.Sprintf("%.1f of neurons, %.1f of whole layers", l.NeuronsGBs, l.CompleteGBs)
	if l.Experts {
		units = fmt.Sprintf("%.1f of experts", l.NeuronsGBs)
	}
	return fmt.Sprintf("memory %.1f GB/s in order, products %.1f of matrices, %s (%s); %s %.2f GB/s in %.0f random reads/s of %s, %.2f once more, %.2f in sequence",
		l.MemoryGBs, l.RowsGBs, units, table.Count(l.Threads, "thread"),
		disk, l.RandomGBs, l.RandomIOPS, config.FormatSize(l.ReadBytes), l.RandomWarmGBs, l.SequentialGBs)
}

// printRows prints what is of interest: of experts the bound, which the disk is part of.
func printRows(w io.Writer, rows []Row, experts, wide bool) {
	t := table.Numbers(2)
	table.Columns(t, rows, []table.Column[Row]{
		{Name: "test", Cell: func(r Row) string { return r.Test.String() }},
		{Name: "mode", Cell: func(r Row) string { return string(r.Mode) }},
		{Name: "budget", Cell: func(r Row) string { return config.FormatSize(r.BudgetBytes) }},
		{Name: "peak RSS", Wide: true, Cell: func(r Row) string { return config.FormatSize(r.PeakRSSBytes) }},
		{Name: "tokens/s", Cell: func(r Row) string { return table.Figures(r.TokS) }},
		{Name: "sd", Wide: true, Cell: func(r Row) string { return table.Figures(r.SD) }},
		{Name: "fast/token", Wide: true, Cell: func(r Row) string { return config.FormatSize(r.FastBytes) }},
		{Name: "slow/token", Wide: experts, Cell: func(r Row) string { return config.FormatSize(r.SlowBytes) }},
		{Name: "units", Wide: !experts, Cell: func(r Row) string { return table.Figures(r.Units) }},
		{Name: "bytes", Wide: true, Cell: func(r Row) string { return config.FormatSize(r.WantedBytes) }},
		{Name: "misses", Wide: true, Cell: func(r Row) string { return table.Figures(r.Misses) }},
		{Name: "bytes", Wide: true, Cell: func(r Row) string { return config.FormatSize(r.MissedBytes) }},
		{Name: "early", Wide: true, Cell: func(r Row) string { return table.Figures(r.Early) }},
		{Name: "in vain", Wide: true, Cell: func(r Row) string { return table.Figures(r.Wasted) }},
		{Name: "hits", Cell: func(r Row) string { return table.Share(r.HitRate) }},
		{Name: "stall", Wide: !experts, Cell: func(r Row) string { return fmt.Sprintf("%.1f ms", r.StallMS) }},
		{Name: "GB/s", Wide: true, Cell: func(r Row) string { return fmt.Sprintf("%.1f", r.GBs) }},
		{Name: "of bound", Wide: !experts, Cell: func(r Row) string { return known(r.ShareOfBound) }},
		{Name: "of limit", Wide: experts, Cell: func(r Row) string { return fmt.Sprintf("%.2f", r.ShareOfLimit) }},
		{Name: "of disk", Wide: true, Cell: func(r Row) string { return fmt.Sprintf("%.2f", r.IOShare) }},
		{Name: "of plan", Wide: true, Cell: func(r Row) string { return known(r.OfEstimate) }},
		{Name: "of dense", Wide: experts, Cell: func(r Row) string { return known(r.OfDense) }},
	}, wide)
	t.Print(w)
}

// known is a share, or a dash where it is not known.
func known(v float64) string {
	if v <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

// once leaves the first row of each mode and budget.
func once(rows []Row, of func(Row) bool) (first []Row) {
	for _, r := range rows {
		same := func(o Row) bool { return o.Mode == r.Mode && o.BudgetBytes == r.BudgetBytes }
		if of(r) && !slices.ContainsFunc(first, same) {
			first = append(first, r)
		}
	}
	return first
}

// printStarts says how long a new process took to its first token, and what mode
// auto chose.
func printStarts(w io.Writer, rows []Row) {
	rows = once(rows, func(r Row) bool { return r.FirstTokenS > 0 })
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(w, "\nfrom the start of the process to the first token")
	t := table.Table{Right: []bool{false, true, true, true, false}}
	t.Add("mode", "first token", "needs", "of read time", "auto chose")
	for _, r := range rows {
		t.Add(string(r.Mode), fmt.Sprintf("%.2f s", r.FirstTokenS), config.FormatSize(r.FirstTokenBytes),
			fmt.Sprintf("%.2f", r.FirstTokenOfReads), r.Auto)
	}
	t.Print(w)
}

// printQuality says what leaving neurons out costs.
func printQuality(w io.Writer, rows []Row, wide bool) {
	rows = once(rows, func(r Row) bool { return r.Quality != nil })
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(w, "\nwhat leaving neurons out costs, against the exact model on the same tokens")
	share := func(of func(q *Quality) float64) func(Row) string {
		return func(r Row) string { return fmt.Sprintf("%.4f", of(r.Quality)) }
	}
	t := table.Numbers(1)
	table.Columns(t, rows, []table.Column[Row]{
		{Name: "mode", Cell: func(r Row) string { return string(r.Mode) }},
		{Name: "budget", Cell: func(r Row) string { return config.FormatSize(r.BudgetBytes) }},
		{Name: "recall", Cell: share(func(q *Quality) float64 { return q.RecallWeighted })},
		{Name: "worst layer", Wide: true, Cell: share(func(q *Quality) float64 { return q.WorstRecall })},
		{Name: "MLP error", Cell: share(func(q *Quality) float64 { return q.MLPError })},
		{Name: "worst layer", Wide: true, Cell: share(func(q *Quality) float64 { return q.WorstError })},
		{Name: "KL", Cell: func(r Row) string { return fmt.Sprintf("%.5f", r.Quality.KL) }},
		{Name: "computed", Cell: func(r Row) string { return fmt.Sprintf("%.2f %%", 100*r.Quality.Computed) }},
		{Name: "per active", Wide: true, Cell: func(r Row) string { return known(ratio(r.Quality.Computed, r.Quality.Active)) }},
		{Name: "greedy as exact", Cell: func(r Row) string {
			if r.Quality.Greedy == 0 {
				return "-"
			}
			return fmt.Sprintf("%d of %d", r.Quality.GreedySame, r.Quality.Greedy)
		}},
	}, wide)
	t.Print(w)
}
