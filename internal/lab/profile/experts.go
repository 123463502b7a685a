package profile

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/lab/trace"
	"github.com/sparseflow/sparseflow/internal/table"
)

// hottest is how many of a layer's experts stand for its hottest.
const hottest = 8

var (
	// lags are how many tokens before another one lie whose experts are compared.
	lags = []int{1, 2, 4, 8, 16, 32}
	// slotShares are the slots of a layer that hits are told of, in shares of its
	// experts: 8, 16, 32, 48, 64 and 74 of 128.
	slotShares = []float64{0.0625, 0.125, 0.25, 0.375, 0.5, 0.58}
)

// ExpertReport is how a mixture of experts used its experts on a text, as profile
// --json prints it.
type ExpertReport struct {
	Schema int    `json:"schema"`
	Model  string `json:"model"`
	Text   string `json:"text"`
	Tokens int    `json:"tokens"`
	// Experts is those of a layer, TopK the most that a token wants of it.
	Experts int `json:"experts"`
	TopK    int `json:"top_k"`
	// Lags are those of Overlap, Slots those of LRU, and Before the tokens that pass
	// before hits count.
	Lags   []int         `json:"lags"`
	Slots  []int         `json:"slots"`
	Before int           `json:"before"`
	Layers []ExpertLayer `json:"layers"`
	Mean   ExpertStats   `json:"mean"` // of the layers
}

// ExpertLayer is the figures of one layer.
type ExpertLayer struct {
	Layer int `json:"layer"`
	ExpertStats
}

// ExpertStats is how a layer's experts are used.
type ExpertStats struct {
	// Entropy is that of which expert is used, as a share of its most, log2 of all.
	Entropy  float64 `json:"entropy"`
	Hottest  float64 `json:"hottest8"` // share of use that the 8 most used experts have
	Half     float64 `json:"half"`     // fewest experts that have half of it
	Distinct float64 `json:"distinct"` // experts that are used at all
	// Overlap is the share of a token's experts that the token so many before also
	// had: those lags that the text has tokens for.
	Overlap []float64 `json:"overlap"` // [lags]
	// LRU is the share of experts that are there, in a cache of so many slots.
	LRU []float64 `json:"lru_hits"` // [slots]
}

// AnalyseExperts makes the report of a trace of experts.
func AnalyseExperts(t *trace.Trace) (*ExpertReport, error) {
	if t.TopK == 0 {
		return nil, fmt.Errorf("profile: got a trace of neurons, want one of experts: judge this one by \"bench MODEL --replay\"")
	}
	r := &ExpertReport{Schema: 1, Model: t.Model, Text: t.Text, Tokens: t.Steps(), Experts: t.FFN, TopK: t.TopK, Before: trace.Before(t.Steps())}
	for _, lag := range lags {
		if lag < t.Steps() {
			r.Lags = append(r.Lags, lag)
		}
	}
	for _, share := range slotShares {
		if n := int(math.Round(share * float64(t.FFN))); n > 0 && !slices.Contains(r.Slots, n) {
			r.Slots = append(r.Slots, n)
		}
	}
	for l := range t.Sets {
		if s := &t.Sets[l]; s.Wanted() > 0 {
			r.Layers = append(r.Layers, ExpertLayer{l, r.stats(s)})
		}
	}
	if len(r.Layers) == 0 {
		return nil, fmt.Errorf("profile: got a trace of %s, want one at least", table.Count(0, "token"))
	}
	r.Mean = r.mean()
	return r, nil
}

// stats is the figures of a layer.
func (r *ExpertReport) stats(s *trace.Sets) (x ExpertStats) {
	counts, all := s.Counts(r.Experts), float64(s.Wanted())
	sum := 0.0
	for i, id := range cache.Hottest(counts) {
		n := float64(counts[id])
		if n == 0 {
			break
		}
		if r.Experts > 1 {
			x.Entropy -= n / all * math.Log2(n/all) / math.Log2(float64(r.Experts))
		}
		if 2*sum < all {
			x.Half++
		}
		if sum += n; i < hottest {
			x.Hottest = sum / all
		}
		x.Distinct++
	}
	for _, lag := range r.Lags {
		x.Overlap = append(x.Overlap, overlap(s, lag))
	}
	for _, slots := range r.Slots {
		missed, step := 0, 0
		s.Misses(r.Experts, slots, nil, func(_, n int) cache.EvictionPolicy { return cache.NewLRU(n) }, func(ids []int32) {
			if step++; step > r.Before {
				missed += len(ids)
			}
		})
		x.LRU = append(x.LRU, 1-float64(missed)/float64(max(1, s.Wanted()-s.Until(r.Before))))
	}
	return x
}

// overlap is the mean share of a token's experts that the token lag before had.
func overlap(s *trace.Sets, lag int) float64 {
	sum, n := 0.0, 0
	for t := lag; t < s.Len(); t++ {
		ids, before := s.At(t), s.At(t-lag)
		if len(ids) == 0 {
			continue
		}
		both := 0
		for _, id := range ids {
			if _, ok := slices.BinarySearch(before, id); ok {
				both++
			}
		}
		sum += float64(both) / float64(len(ids))
		n++
	}
	return sum / float64(max(1, n))
}

// mean is the mean of the layers' figures.
func (r *ExpertReport) mean() (m ExpertStats) {
	m.Overlap, m.LRU = make([]float64, len(r.Lags)), make([]float64, len(r.Slots))
	share := 1 / float64(len(r.Layers))
	add := func(to, of []float64) {
		for i, v := range of {
			to[i] += v * share
		}
	}
	for _, l := range r.Layers {
		m.Entropy += l.Entropy * share
		m.Hottest += l.Hottest * share
		m.Half += l.Half * share
		m.Distinct += l.Distinct * share
		add(m.Overlap, l.Overlap)
		add(m.LRU, l.LRU)
	}
	return m
}

// Print writes the report for people, in 80 columns.
func (r *ExpertReport) Print(w io.Writer, title string) {
	fmt.Fprintf(w, "%s\n", table.Wrap(title, "  "))
	fmt.Fprintf(w, "%s with experts, up to %d of %d for a token\n", table.Count(len(r.Layers), "layer"), r.TopK, r.Experts)
	r.table(w, "entropy of use, of its most; share of the 8 hottest; experts that have half of all use, and that have any; overlap with the token 1, 2, ... before",
		append([]string{"entropy", "hot 8", "half", "any"}, heads("-%d", r.Lags)...), func(s ExpertStats) []string {
			return append([]string{fmt.Sprintf("%.3f", s.Entropy), short(s.Hottest), fmt.Sprintf("%.0f", s.Half), fmt.Sprintf("%.0f", s.Distinct)}, shorts(s.Overlap)...)
		})
	r.table(w, fmt.Sprintf("hits of an LRU cache by slots of a layer, which begin empty, after %s", table.Count(r.Before, "token")),
		heads("%d", r.Slots), func(s ExpertStats) []string { return shorts(s.LRU) })
}

// table writes a line of cells for each layer, and one for their mean.
func (r *ExpertReport) table(w io.Writer, title string, head []string, cells func(ExpertStats) []string) {
	fmt.Fprintf(w, "\n%s\n", table.Wrap(title, "  "))
	t := table.Numbers(0)
	t.Add(append([]string{"layer"}, head...)...)
	for _, l := range r.Layers {
		t.Add(append([]string{strconv.Itoa(l.Layer)}, cells(l.ExpertStats)...)...)
	}
	t.Add(append([]string{"mean"}, cells(r.Mean)...)...)
	t.Print(w)
}

func heads(format string, of []int) (names []string) {
	for _, n := range of {
		names = append(names, fmt.Sprintf(format, n))
	}
	return names
}

func shorts(of []float64) (cells []string) {
	for _, v := range of {
		cells = append(cells, short(v))
	}
	return cells
}

// short is a share from 0 to 1 in few columns.
func short(v float64) string {
	s := fmt.Sprintf("%.2f", v)
	if s[0] == '0' {
		return s[1:]
	}
	return s
}
