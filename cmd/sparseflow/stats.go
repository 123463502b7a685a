package main

import (
	"fmt"
	"io"
	"time"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/table"
)

// statsJSON is what a request took, as run --json prints it.
type statsJSON struct {
	Mode      string   `json:"mode"`
	Tokens    int      `json:"tokens"`     // generated
	PrefillS  float64  `json:"prefill_s"`  // until the first token, once the model is loaded
	DecodeS   float64  `json:"decode_s"`   // after it
	TokS      float64  `json:"tok_s"`      // of decoding
	HitRate   float64  `json:"hit_rate"`   // share of wanted neurons that were in fast memory
	BytesFast int64    `json:"bytes_fast"` // of weights multiplied
	BytesSlow int64    `json:"bytes_slow"` // read from the pack
	StallS    float64  `json:"stall_s"`    // waiting for reads
	Recall    *float64 `json:"recall"`     // of one layer in 64 tokens; null: too few tokens
	// OutputError is sampled as Recall is, and CalibratedError what it was when
	// the predictor was calibrated.
	OutputError     *float64 `json:"output_error"`
	CalibratedError *float64 `json:"output_error_calibrated"`
	PeakRSS         int64    `json:"peak_rss_bytes"`
	UnitsWanted     int64    `json:"units_wanted"`                   // neurons of layer passes
	UnitsHit        int64    `json:"units_hit"`                      // of these, in fast memory when the pass began
	PromptReused    int      `json:"prompt_tokens_reused,omitempty"` // of a conversation, computed for the turn before
	Seed            uint64   `json:"seed"`
	BudgetBytes     int64    `json:"budget_bytes"` // of the whole process
}

// known is a value, nil where there is none.
func known(v float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &v
}

func newStatsJSON(s sparseflow.Stats, seed uint64, eng *sparseflow.Engine) statsJSON {
	return statsJSON{
		Mode:            string(s.Mode),
		Recall:          known(s.Recall()),
		OutputError:     known(s.OutputError()),
		CalibratedError: known(s.CalibratedError()),
		Tokens:          s.Tokens,
		PrefillS:        s.Prefill.Seconds(),
		DecodeS:         s.Decode.Seconds(),
		TokS:            s.TokensPerSecond(),
		HitRate:         s.HitRate(),
		BytesFast:       s.FastBytes,
		BytesSlow:       s.SlowBytes,
		StallS:          s.Stall.Seconds(),
		PeakRSS:         memory.PeakRSS(),
		UnitsWanted:     s.Wanted,
		UnitsHit:        s.Wanted - s.Misses,
		PromptReused:    s.Reused,
		Seed:            seed,
		BudgetBytes:     eng.Placement().Process.BudgetBytes,
	}
}

// speedLine is the one line that a person wants to know about a text.
func speedLine(s sparseflow.Stats) string {
	line := fmt.Sprintf("%s in %s", count(s.Tokens, "token"), seconds(s.Prefill+s.Decode))
	if v := s.TokensPerSecond(); v > 0 {
		line += fmt.Sprintf(", %s tokens/s", figures(v))
	}
	return line
}

// modeText is the mode and, of a calibrated predictor, what it is taken to cost.
func modeText(eng *sparseflow.Engine) string {
	mode := string(eng.Placement().Mode)
	if routed(eng) {
		return "experts as routers name them"
	}
	if c := eng.Choice(); c != nil {
		mode = "auto: " + c.Summary()
		if c.Exact() {
			return mode
		}
	}
	switch p := eng.Point(); {
	case p == nil:
	case p.ByRecall(): // perplexity may mean nothing
		mode += fmt.Sprintf(" at weighted recall %.3f", p.RecallWeighted)
	default:
		mode += fmt.Sprintf(" at %+.2f %% perplexity", 100*p.Cost())
	}
	return mode
}

// routed reports whether the model's units are experts.
func routed(eng *sparseflow.Engine) bool { return eng.Placement().Token.Experts > 0 }

// summary is two lines for a person about a text.
func summary(w io.Writer, s sparseflow.Stats, eng *sparseflow.Engine) {
	p := eng.Placement()
	mode := modeText(eng)
	if !routed(eng) {
		mode = "mode " + mode
	}
	fmt.Fprintf(w, "%s (prompt of %s in %s, %s)\n", speedLine(s), count(s.PromptTokens, "token"), seconds(s.Prefill), mode)
	c, tokens := perToken(s)
	fmt.Fprintf(w, "budget %s; %s; a token moves %s fast, %s slow; peak RSS %s\n",
		budgetText(p), "cache hits "+hitText(c, routed(eng)),
		config.FormatSize(c.FastBytes/tokens), config.FormatSize(c.SlowBytes/tokens), rssText())
}

// statsTable is all that is known about a request, and a row that the verb adds.
func statsTable(w io.Writer, s sparseflow.Stats, eng *sparseflow.Engine, row ...string) {
	p := eng.Placement()
	var t table.Table
	t.Add("mode", modeText(eng))
	if len(row) > 0 {
		t.Add(row...)
	}
	t.Add("threads", fmt.Sprint(p.Threads))
	t.Add("budget", budgetText(p))
	prompt := count(s.PromptTokens, "token")
	if s.Reused > 0 {
		prompt += fmt.Sprintf(", %d of them computed before", s.Reused)
	}
	t.Add("prompt", prompt)
	t.Add("generated", count(s.Tokens, "token"))
	if s.Loading > 0 {
		t.Add("waiting to be loaded", seconds(s.Loading))
	}
	t.Add("prefill", seconds(s.Prefill))
	t.Add("decode", seconds(s.Decode))
	t.Add("speed", figures(s.TokensPerSecond())+" tokens/s")
	t.Add("waiting for reads", seconds(s.Stall))
	unit := "expert"
	if !routed(eng) {
		unit = "neuron"
		neuronRows(&t, s, eng)
	}
	if s.Filled > 0 {
		t.Add("loaded into empty slots", count(int(s.Filled), unit))
	}
	t.Add("cache hits", hitText(s.Counters, routed(eng)))
	t.Add("wanted, cached or not", fmt.Sprint(s.Wanted))
	t.Add("missing", fmt.Sprint(s.Misses))
	t.Add("read early", fmt.Sprint(s.Early))
	t.Add("read early in vain", fmt.Sprint(s.Wasted))
	t.Add("from fast memory", config.FormatSize(s.FastBytes))
	t.Add("from slow memory", config.FormatSize(s.SlowBytes))
	t.Add("peak RSS", rssText())
	t.Print(w)
}

// neuronRows is what is known of a request of which neurons were left out.
func neuronRows(t *table.Table, s sparseflow.Stats, eng *sparseflow.Engine) {
	_, tokens := perToken(s)
	asked := float64(s.Decoding.Predict.Nanoseconds()) / 1e3 / float64(tokens) / float64(eng.Profile().Layers)
	t.Add("predicting", fmt.Sprintf("%s, %s of decoding, %.1f us a token and layer", seconds(s.Predict), percent(int64(s.Decoding.Predict), int64(s.Decode)), asked))
	t.Add("neurons computed", percent(s.Computed, s.Passes))
	t.Add("active of computed", percent(s.Active, s.Computed))
	if r, ok := s.Recall(); ok {
		t.Add("recall, sampled", fmt.Sprintf("%.1f %%", 100*r))
	}
	if v, ok := s.OutputError(); ok {
		text := fmt.Sprintf("%.1f %%", 100*v)
		if was, ok := s.CalibratedError(); ok {
			text += fmt.Sprintf(", %.1f %% when calibrated", 100*was)
		}
		t.Add("output error, sampled", text)
	}
}

// hitText is the share of wanted units that were in fast memory. Neurons that
// went into empty slots are left out: they say that the cache was being loaded,
// not how good it is. Empty slots for experts are filled beside that, too.
func hitText(c sparseflow.Counters, experts bool) string {
	if experts {
		return percent(c.Wanted-c.Misses, c.Wanted)
	}
	loaded := min(c.Filled, c.Misses)
	if c.Wanted > 0 && c.Wanted == loaded {
		return "none yet"
	}
	return percent(c.Wanted-c.Misses, c.Wanted-loaded)
}

// perToken is what decoding took and its number of tokens, or those of the
// prompt where nothing was decoded after the prompt's own token.
func perToken(s sparseflow.Stats) (sparseflow.Counters, int64) {
	if s.Tokens > 1 {
		return s.Decoding, int64(s.Tokens - 1)
	}
	return s.Counters, int64(max(1, s.PromptTokens))
}

func budgetText(p *sparseflow.Placement) string {
	share := 100 * float64(p.Share.BudgetBytes) / float64(max(1, p.Share.TotalBytes))
	return fmt.Sprintf("%s (%.0f %% of the weights)", config.FormatSize(p.Process.BudgetBytes), min(share, 100))
}

func rssText() string {
	if n := memory.PeakRSS(); n > 0 {
		return config.FormatSize(n)
	}
	return "unknown"
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

func count(n int, of string) string { return table.Count(n, of) }

// seconds is a duration to three figures.
func seconds(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.2f s", s)
	default:
		return fmt.Sprintf("%.1f s", s)
	}
}

// figures is a speed to about three figures.
func figures(v float64) string { return table.Figures(v) }
