package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/engine"
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
	Test            Test    `json:"test"`
	Mode            Mode    `json:"mode"`
	BudgetBytes     int64   `json:"budget_bytes"`           // of the whole process
	BudgetShare     float64 `json:"budget_share,omitempty"` // of the weights, in a sweep
	PeakRSSBytes    int64   `json:"peak_rss_bytes"`         // of the mode's process
	Tokens          int     `json:"tokens"`                 // timed, each repetition
	Reps            int     `json:"reps"`
	TokS            float64 `json:"tok_s"` // the median's
	SD              float64 `json:"sd"`    // of tok_s
	FastBytes       int64   `json:"bytes_per_token_fast"`
	SlowBytes       int64   `json:"bytes_per_token_slow"`
	Misses          float64 `json:"misses_per_token"`
	HitRate         float64 `json:"hit_rate"`
	StallMS         float64 `json:"stall_ms"` // waiting for reads, a token
	GBs             float64 `json:"gb_s"`     // bytes_per_token_fast over a token's time
	ShareOfLimit    float64 `json:"share_of_limit"`
	LimitGBs        float64 `json:"limit_gb_s"` // that share_of_limit is of
	IOGBs           float64 `json:"io_gb_s"`    // bytes_per_token_slow over a token's time
	IOShare         float64 `json:"io_share_of_limit"`
	EstimateSeconds float64 `json:"estimate_s"`        // of a token, by plan from the measured limits
	OfEstimate      float64 `json:"share_of_estimate"` // tok_s over the estimate's

	Quality *Quality `json:"quality,omitempty"` // of a mode that leaves neurons out
}

// timing is one repetition.
type timing struct {
	tokS     float64
	tokens   int
	counters engine.Counters
}

// measure times the tests.
func (c *child) measure(ctx context.Context, res *Result) error {
	at := auditTokens // of the text, which the cache may know up to here
	tests := c.tests()
	if slices.ContainsFunc(tests, func(t Test) bool { return !t.Prompt }) {
		c.tell("warming up")
		n := min(warmTokens, c.tokens(Test{N: warmTokens}), c.e.Placement().Context-2)
		if _, err := c.decode(ctx, at, n); err != nil {
			return err
		}
	}
	at += warmTokens
	for _, t := range tests {
		var samples []timing
		for rep := range c.Reps {
			c.tell(fmt.Sprintf("%v, %d of %d", t, rep+1, c.Reps))
			run := c.decode
			if t.Prompt {
				run = c.prefill
			}
			s, err := run(ctx, at+rep*c.stride(), c.tokens(t))
			if err != nil {
				return err
			}
			samples = append(samples, s)
		}
		res.Rows = append(res.Rows, c.row(t, samples, res.Quality))
	}
	return nil
}

// stride is how far apart in the text repetitions begin.
func (j *Job) stride() int { return longest(j.Tests) + 1 }

func longest(tests []Test) (n int) {
	for _, t := range tests {
		n = max(n, t.N)
	}
	return n
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

// row sums repetitions up: the median's rates, the spread of all.
func (c *child) row(t Test, samples []timing, q *Quality) Row {
	mean, square := 0.0, 0.0
	for _, s := range samples {
		mean += s.tokS / float64(len(samples))
	}
	for _, s := range samples {
		square += (s.tokS - mean) * (s.tokS - mean)
	}
	sd := 0.0
	if len(samples) > 1 {
		sd = math.Sqrt(square / float64(len(samples)-1))
	}
	slices.SortFunc(samples, func(a, b timing) int {
		switch {
		case a.tokS < b.tokS:
			return -1
		case a.tokS > b.tokS:
			return 1
		}
		return 0
	})
	m := samples[(len(samples)-1)/2] // of an even number the slower one
	n := float64(m.tokens)
	place := c.e.Placement()
	r := Row{
		Test: t, Mode: c.Mode, BudgetBytes: place.Process.BudgetBytes,
		Tokens: m.tokens, Reps: len(samples), TokS: m.tokS, SD: sd,
		FastBytes: int64(float64(m.counters.FastBytes) / n),
		SlowBytes: int64(float64(m.counters.SlowBytes) / n),
		Misses:    float64(m.counters.Misses) / n,
		HitRate:   m.counters.HitRate(),
		StallMS:   1e3 * m.counters.Stall.Seconds() / n,
		Quality:   q,
	}
	if c.LimitBytes > 0 {
		r.BudgetBytes = c.LimitBytes
	}
	if !t.Prompt {
		r.FastBytes += place.PredictorBytes
	}
	r.GBs = float64(r.FastBytes) * r.TokS / 1e9
	r.IOGBs = float64(r.SlowBytes) * r.TokS / 1e9
	return r
}

// rate sets a row beside the limits.
func (c *child) rate(r *Row, res *Result, peak int64) {
	r.PeakRSSBytes = peak
	r.LimitGBs = c.Limits.MemoryGBs
	if load := res.Load.PerSecond(); load > 0 && !r.Test.Prompt {
		r.LimitGBs = load / 1e9
	}
	if r.LimitGBs > 0 {
		r.ShareOfLimit = r.GBs / r.LimitGBs
	}
	disk := c.Limits.RandomGBs
	if c.Mode == Naive || c.Mode == Mmap {
		disk = c.Limits.SequentialGBs
	}
	if disk > 0 {
		r.IOShare = r.IOGBs / disk
	}
	if c.Limits.MemoryGBs > 0 && disk > 0 && !r.Test.Prompt && c.Mode != Mmap {
		r.EstimateSeconds = c.e.Placement().Token.Seconds(1e9*c.Limits.MemoryGBs, 1e9*disk)
		r.OfEstimate = r.TokS * r.EstimateSeconds
	}
}

// What the load-only probe repeats: tokens whose bytes are loaded, and how
// long loading goes on.
const (
	probeTokens = 8
	probeTime   = time.Second / 2
)

// load decodes a few tokens more and measures how fast the very bytes that
// they multiplied are loaded from memory. Where the mode needs more than there
// is in memory there is no such measure.
func (c *child) load(ctx context.Context) (Rate, error) {
	place := c.e.Placement()
	if c.Mode == Mmap || c.Mode == Naive || place.Streamed > 0 {
		return Rate{}, nil
	}
	c.tell("loading the same bytes")
	n := probeTokens
	if c.Mode == Dense {
		n = 1 // they are all alike
	}
	c.touched, c.record = nil, true
	_, err := c.decode(ctx, auditTokens, n)
	c.record = false
	if err != nil {
		return Rate{}, err
	}
	steps := split(c.touched, n)
	c.touched = nil
	var rates []Rate
	for begin := time.Now(); ; {
		var r Rate
		for _, s := range steps {
			bytes, took := c.e.Load(s)
			r.Bytes, r.Seconds = r.Bytes+bytes, r.Seconds+took.Seconds()
		}
		rates = append(rates, r)
		if ctx.Err() != nil || time.Since(begin) > probeTime {
			break
		}
	}
	slices.SortFunc(rates, func(a, b Rate) int { return int(a.Seconds*1e9) - int(b.Seconds*1e9) })
	return rates[len(rates)/2], ctx.Err()
}

// split cuts what was touched into steps and keeps the last n: each begins
// where the layers start anew.
func split(t []engine.Touched, n int) (steps [][]engine.Touched) {
	from := 0
	for i := 1; i <= len(t); i++ {
		if i == len(t) || t[i].Layer < t[i-1].Layer {
			steps = append(steps, t[from:i])
			from = i
		}
	}
	return steps[max(0, len(steps)-n):]
}
