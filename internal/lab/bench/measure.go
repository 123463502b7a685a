package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/lab/reads"
	"github.com/sparseflow/sparseflow/internal/memory"
)

// Rate is bytes over time.
type Rate struct {
	Bytes   int64
	Seconds float64
}

// PerSecond is bytes per second, 0 where nothing was measured.
func (r Rate) PerSecond() float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(r.Bytes) / r.Seconds
}

// Row is one test in one mode. Rates are of the median repetition, in units of
// 1e9 bytes; what depends on a figure that is missing is 0.
type Row struct {
	Test         Test    `json:"test"`
	Mode         Mode    `json:"mode"`
	BudgetBytes  int64   `json:"budget_bytes"`           // of the whole process
	BudgetShare  float64 `json:"budget_share,omitempty"` // of the weights, in a sweep
	PeakRSSBytes int64   `json:"peak_rss_bytes"`         // of the mode's process
	Tokens       int     `json:"tokens"`                 // timed, each repetition
	Reps         int     `json:"reps"`
	TokS         float64 `json:"tok_s"` // the median's
	SD           float64 `json:"sd"`    // of tok_s
	FastBytes    int64   `json:"bytes_per_token_fast"`
	SlowBytes    int64   `json:"bytes_per_token_slow"`
	Reads        float64 `json:"reads_per_token"`
	Units        float64 `json:"units_per_token"` // wanted: neurons or experts
	Misses       float64 `json:"misses_per_token"`
	Early        float64 `json:"early_per_token"`        // units read early, by a forecast
	Wasted       float64 `json:"wasted_per_token"`       // of these, not wanted after all
	WantedBytes  int64   `json:"wanted_bytes_per_token"` // of units
	MissedBytes  int64   `json:"missed_bytes_per_token"`
	Streamed     int64   `json:"streamed_bytes_per_token"` // of matrices that are not resident
	HitRate      float64 `json:"hit_rate"`
	StallMS      float64 `json:"stall_ms"` // waiting for reads, a token
	GBs          float64 `json:"gb_s"`     // bytes_per_token_fast over a token's time
	ShareOfLimit float64 `json:"share_of_limit"`
	LimitGBs     float64 `json:"limit_gb_s"` // that share_of_limit is of
	IOGBs        float64 `json:"io_gb_s"`    // bytes_per_token_slow over a token's time
	// IOShare is how much of the time the disk needs for these reads, by their
	// number or by their bytes in sequence, whichever takes longer.
	IOShare float64 `json:"io_share_of_limit"`
	// BoundTokS is the speed at which the slower of memory and disk brings a token's
	// bytes; see bound.
	BoundTokS       float64 `json:"bound_tok_s"`
	ShareOfBound    float64 `json:"share_of_bound"`
	BoundMemoryGBs  float64 `json:"bound_memory_gb_s"` // of bytes_per_token_fast
	BoundDiskGBs    float64 `json:"bound_disk_gb_s"`   // of missed_bytes_per_token
	EstimateSeconds float64 `json:"estimate_s"`        // of a token, by plan from the measured limits
	OfEstimate      float64 `json:"share_of_estimate"` // tok_s over the estimate's

	// FirstTokenS is the seconds from the start of the process to the first
	// token after a short prompt, and FirstTokenBytes what had to be read for
	// it: what is resident, and the prompt's neurons. FirstTokenOfReads is the
	// former over the time that reading these in sequence takes.
	FirstTokenS       float64 `json:"first_token_s"`
	FirstTokenBytes   int64   `json:"first_token_bytes"`
	FirstTokenOfReads float64 `json:"first_token_of_read_time"`

	Auto    string  `json:"auto,omitempty"` // what mode auto chose
	OfDense float64 `json:"of_dense"`       // tok_s over that of mode dense, 0 without one

	Quality *Quality `json:"quality,omitempty"` // of a mode that leaves neurons out
}

// timing is one repetition.
type timing struct {
	tokS     float64
	tokens   int
	counters engine.Counters
}

// series is the repetitions of one test.
type series struct {
	test    Test
	timings []timing
	took    time.Duration
}

// enoughTime is how long a test goes on being repeated, and the cache being
// filled before, where the number of repetitions was not asked for.
const enoughTime = time.Second

// measure times the tests in rounds, a repetition of each, and after every
// round the loading of the same bytes: what else the machine does meanwhile
// then slows both.
func (c *child) measure(ctx context.Context, res *Result) error {
	var all []*series
	for _, t := range c.tests() {
		all = append(all, &series{test: t})
	}
	if err := c.warmUp(ctx, all); err != nil {
		return err
	}
	var loads []Rate
	for rep := range c.Reps {
		for _, s := range all {
			if rep > 0 && !c.AllReps && s.took > enoughTime {
				continue
			}
			c.progress(fmt.Sprintf("%v, %d of %d", s.test, rep+1, c.Reps))
			if err := c.repeat(ctx, s, rep); err != nil {
				return err
			}
		}
		if rep == 0 {
			// From here on memory is spent that is not the model's.
			c.peak = memory.PeakRSS()
			debug.SetMemoryLimit(math.MaxInt64)
			if err := c.recordSteps(ctx); err != nil {
				return err
			}
		}
		loads = append(loads, c.load()...)
	}
	res.Load = median(loads)
	for _, s := range all {
		res.Rows = append(res.Rows, c.row(s, res))
	}
	return nil
}

// warmUp fills the cache. What grows once grew when the output was checked, and
// so did what modes that compute everything keep.
func (c *child) warmUp(ctx context.Context, all []*series) error {
	if c.Mode.exact() || !slices.ContainsFunc(all, func(s *series) bool { return !s.test.Prompt }) {
		return nil
	}
	c.progress("warming up")
	for at, begin := 0, time.Now(); at < c.Warm && (at == 0 || c.AllReps || time.Since(begin) < enoughTime); at += warmPiece {
		n := min(warmPiece, c.Warm-at, c.e.Placement().Context-2)
		if _, err := c.decode(ctx, auditTokens+at, n); err != nil {
			return err
		}
	}
	c.e.WaitFilled(ctx)
	return ctx.Err()
}

// repeat times one test once, on the part of the text that is this
// repetition's.
func (c *child) repeat(ctx context.Context, s *series, rep int) error {
	run := c.decode
	if s.test.Prompt {
		run = c.prefill
	}
	begin := time.Now()
	t, err := run(ctx, c.timedFrom(rep), c.tokens(s.test))
	s.timings, s.took = append(s.timings, t), s.took+time.Since(begin)
	return err
}

func longest(tests []Test) (n int) {
	for _, t := range tests {
		n = max(n, t.N)
	}
	return n
}

// first is what had to be read for the first token of this process, and how long
// that took.
func (c *child) first(ctx context.Context) (Rate, error) {
	res, err := c.e.Run(ctx, engine.Request{IDs: c.prompt(min(firstTokens, len(c.IDs))), MaxTokens: 1, IgnoreEOS: true})
	if err != nil {
		return Rate{}, err
	}
	return Rate{
		c.e.Placement().LoadBytes + res.Stats.WantedBytes,
		time.Since(c.Started).Seconds(),
	}, nil
}

// decode decodes n tokens of the text from the given one on.
func (c *child) decode(ctx context.Context, at, n int) (timing, error) {
	prompt := c.prompt(0)
	if len(prompt) == 0 {
		prompt = c.prompt(1)
	}
	// The prompt's own step gives the first token.
	res, err := c.e.Run(ctx, engine.Request{IDs: prompt, Force: c.IDs[at : at+n+1], MaxTokens: n + 1, IgnoreEOS: true})
	if err != nil {
		return timing{}, err
	}
	if res.Stats.Tokens != n+1 {
		return timing{}, fmt.Errorf("bench: decode: got %d tokens, want %d", res.Stats.Tokens, n+1)
	}
	return timing{res.Stats.TokensPerSecond(), n, res.Stats.Decoding}, nil
}

// prefill computes n tokens of the text as a prompt.
func (c *child) prefill(ctx context.Context, at, n int) (timing, error) {
	res, err := c.e.Run(ctx, engine.Request{IDs: c.IDs[at : at+n]})
	if err != nil {
		return timing{}, err
	}
	return timing{float64(n) / res.Stats.Prefill.Seconds(), n, res.Stats.Counters}, nil
}

// row sums repetitions up: the median's rates and the spread of all, beside
// the limits.
func (c *child) row(s *series, res *Result) Row {
	mean, square := 0.0, 0.0
	for _, t := range s.timings {
		mean += t.tokS / float64(len(s.timings))
	}
	for _, t := range s.timings {
		square += (t.tokS - mean) * (t.tokS - mean)
	}
	slices.SortFunc(s.timings, func(a, b timing) int { return cmp.Compare(a.tokS, b.tokS) })
	m := s.timings[(len(s.timings)-1)/2] // of an even number the slower one
	n := float64(m.tokens)
	r := Row{
		Test: s.test, Mode: c.Mode, BudgetBytes: c.e.Placement().Process.BudgetBytes, PeakRSSBytes: c.peak,
		Tokens: m.tokens, Reps: len(s.timings), TokS: m.tokS,
		SD:        math.Sqrt(square / float64(max(1, len(s.timings)-1))),
		FastBytes: int64(float64(m.counters.FastBytes) / n),
		SlowBytes: int64(float64(m.counters.SlowBytes) / n),
		Reads:     float64(m.counters.Reads) / n,
		Units:     float64(m.counters.Wanted) / n,
		Misses:    float64(m.counters.Misses) / n,
		Early:     float64(m.counters.Early) / n,
		Wasted:    float64(m.counters.Wasted) / n,
		HitRate:   m.counters.HitRate(),
		StallMS:   1e3 * m.counters.Stall.Seconds() / n,
		Quality:   res.Quality,
		Auto:      res.Auto,

		WantedBytes: int64(float64(m.counters.WantedBytes) / n),
		MissedBytes: int64(float64(m.counters.MissedBytes) / n),
		Streamed:    c.e.Placement().Token.StreamedBytes,

		FirstTokenS: res.Start.Seconds, FirstTokenBytes: res.Start.Bytes,
	}
	c.rate(&r, res.Load.PerSecond()/1e9)
	return r
}

// rate sets a row beside the limits. load is the speed of loading what a
// decoded token multiplies, 0 if it is not known.
func (c *child) rate(r *Row, load float64) {
	r.GBs = float64(r.FastBytes) * r.TokS / 1e9
	r.IOGBs = float64(r.SlowBytes) * r.TokS / 1e9
	l := &c.Limits
	if c.SimDisk != nil || l.Simulated == "" {
		r.FirstTokenOfReads = ratio(r.FirstTokenS*l.SequentialGBs, float64(r.FirstTokenBytes)/1e9)
	}
	r.IOShare = max(ratio(r.IOGBs, l.SequentialGBs), ratio(r.Reads*r.TokS, l.RandomIOPS))
	if r.LimitGBs = l.MemoryGBs; load > 0 && !r.Test.Prompt {
		r.LimitGBs = load
	}
	r.ShareOfLimit = ratio(r.GBs, r.LimitGBs)
	rates := l.Rates()
	if c.Mode == Naive {
		rates.Random = rates.InOrder
	}
	if rates.Rows > 0 && rates.Random > 0 && !r.Test.Prompt {
		r.EstimateSeconds = c.e.Placement().Token.Seconds(rates)
		r.OfEstimate = r.TokS * r.EstimateSeconds
	}
}

// ratio is part over whole, 0 where the whole is not known.
func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return part / whole
}

// What the loading repeats: tokens whose bytes are loaded, and how
// long loading goes on after each round.
const (
	loadTokens = 8
	loadTime   = time.Second / 5
)

// recordSteps decodes a few tokens more and notes which bytes they read. Where
// the mode needs more than there is in memory it notes nothing.
func (c *child) recordSteps(ctx context.Context) error {
	if c.Mode == Naive || c.e.Placement().Streamed > 0 || !slices.ContainsFunc(c.Tests, func(t Test) bool { return !t.Prompt }) {
		return nil
	}
	n := min(loadTokens, longest(c.Tests))
	if c.Mode == Dense {
		n = 1 // they are all alike
	}
	c.rec.Begin()
	_, err := c.decode(ctx, auditTokens, n)
	c.reads = c.rec.End(n)
	c.loader = reads.NewLoader(kernel.Best(), c.e.Placement().Threads)
	return err
}

// load loads what the steps read from memory, over and over.
func (c *child) load() (rates []Rate) {
	if c.loader == nil {
		return nil
	}
	for begin := time.Now(); len(rates) == 0 || time.Since(begin) < loadTime; {
		bytes, took := c.loader.Load(c.reads)
		rates = append(rates, Rate{bytes, took.Seconds()})
	}
	return rates
}

// median is the median by speed, zero of none.
func median(rates []Rate) Rate {
	if len(rates) == 0 {
		return Rate{}
	}
	slices.SortFunc(rates, func(a, b Rate) int { return cmp.Compare(a.PerSecond(), b.PerSecond()) })
	return rates[len(rates)/2]
}
