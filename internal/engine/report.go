package engine

import (
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/model"
)

// Stats is what a request took, without waiting for a model that was opened early
// (Counters.Loading). Counters cover the steps that the request was
// part of, other requests of these steps included.
type Stats struct {
	Mode         config.Mode // Dense, Gate or, where any layer is, Predicted
	PromptTokens int
	Reused       int // of these, computed for the text before, of which this is a continuation
	Tokens       int // generated
	Prefill      time.Duration
	Decode       time.Duration
	Counters              // of the whole request
	Decoding     Counters // of the part after the prompt
}

// TokensPerSecond is the speed of decoding. The first token comes out of the
// prompt's computation and does not count.
func (s Stats) TokensPerSecond() float64 {
	if s.Tokens < 2 || s.Decode <= 0 {
		return 0
	}
	return float64(s.Tokens-1) / s.Decode.Seconds()
}

// Counters add up over steps.
type Counters struct {
	FastBytes int64 // of weights multiplied, predictors included
	SlowBytes int64 // read from the pack
	Reads     int64 // that brought them
	Wanted    int64 // units of layer passes: neurons, or experts once a step however many tokens want them
	Misses    int64 // of these, not in fast memory when the pass began
	Filled    int64 // slots that were empty and no longer are
	Early     int64 // units read early, by a forecast
	Wasted    int64 // of these, not wanted after all
	// WantedBytes and MissedBytes are the sizes of Wanted and Misses.
	WantedBytes, MissedBytes int64
	Computed                 int64         // neurons x tokens computed
	Active                   int64         // of these, with an activation that is not zero
	Passes                   int64         // neurons x tokens there were
	Sampled                  int64         // active neurons of the layers that were sampled
	Found                    int64         // of these, computed
	Stall                    time.Duration // waiting for reads
	Predict                  time.Duration // asking the predictor
	Loading                  time.Duration // waiting for a model that was opened early
	// SampledOutput is the sum of squares of the sampled layers' exact outputs,
	// SampledError that of what leaving neurons out changed in them, and
	// ExpectedError what it would have been as calibrated, 0 without that.
	SampledOutput, SampledError, ExpectedError float64
	// Deprecated: what is sampled changes nothing. Lowered and Exact are 0.
	Lowered, Exact int64
}

// HitRate is the share of wanted units that were in fast memory.
func (c Counters) HitRate() float64 {
	if c.Wanted == 0 {
		return 0
	}
	return 1 - float64(c.Misses)/float64(c.Wanted)
}

// ComputedShare is the share of all neurons that were computed.
func (c Counters) ComputedShare() float64 {
	if c.Passes == 0 {
		return 0
	}
	return float64(c.Computed) / float64(c.Passes)
}

// Recall is the share of active neurons that were computed, as far as it was
// sampled; false if it was not.
func (c Counters) Recall() (float64, bool) {
	if c.Sampled == 0 {
		return 0, false
	}
	return float64(c.Found) / float64(c.Sampled), true
}

// OutputError is how far leaving neurons out moved the outputs of the layers
// that were sampled, relative to their size; false if none was.
func (c Counters) OutputError() (float64, bool) { return rootShare(c.SampledError, c.SampledOutput) }

// CalibratedError is what OutputError would be on the calibration's text; false
// without a calibration or samples.
func (c Counters) CalibratedError() (float64, bool) {
	v, ok := rootShare(c.ExpectedError, c.SampledOutput)
	return v, ok && v > 0
}

func (c Counters) minus(d Counters) Counters {
	c.FastBytes -= d.FastBytes
	c.SlowBytes -= d.SlowBytes
	c.Reads -= d.Reads
	c.Wanted -= d.Wanted
	c.Misses -= d.Misses
	c.WantedBytes -= d.WantedBytes
	c.MissedBytes -= d.MissedBytes
	c.Filled -= d.Filled
	c.Early -= d.Early
	c.Wasted -= d.Wasted
	c.Computed -= d.Computed
	c.Active -= d.Active
	c.Passes -= d.Passes
	c.Sampled -= d.Sampled
	c.Found -= d.Found
	c.Stall -= d.Stall
	c.Predict -= d.Predict
	c.Loading -= d.Loading
	c.SampledOutput -= d.SampledOutput
	c.SampledError -= d.SampledError
	c.ExpectedError -= d.ExpectedError
	return c
}

// report is what is said of a model while it runs. It changes nothing.
type report struct {
	*loaded
	drift  drift
	notify func(string) // may be nil
}

func newReport(m *loaded, notify func(string)) report {
	return report{m, newDrift(m.profile.Layers, m.point), notify}
}

// counters is the state of all counters now.
func (r *report) counters() Counters {
	s, t := r.ec.Stats, r.ec.Stats.Transfer
	var a model.LayerAudit
	for _, l := range r.drift.sampled.Layers {
		a.Add(l)
	}
	stride := int64(0) // of neurons
	if r.profile.Experts() == 0 {
		stride = r.pack.BundleStride()
	}
	return Counters{
		FastBytes:     r.backend.bytes,
		SlowBytes:     r.store.BytesRead() + r.transfer.BytesRead(),
		Reads:         r.store.Reads() + r.transfer.Reads(),
		Wanted:        t.Wanted,
		Misses:        t.Misses,
		WantedBytes:   t.WantedBytes + t.Wanted*stride,
		MissedBytes:   t.MissedBytes + t.Misses*stride,
		Filled:        r.cache.Filled(),
		Early:         t.Early,
		Wasted:        t.Wasted,
		Computed:      s.Computed,
		Active:        s.Active,
		Passes:        s.Tokens * r.profile.Neurons(),
		Sampled:       a.Active,
		Found:         a.Found,
		Stall:         t.Stall,
		Predict:       t.Predict,
		Loading:       r.loading.waited,
		SampledOutput: a.Output,
		SampledError:  a.Error,
		ExpectedError: r.drift.expected(),
	}
}

// sample audits a layer of a step of decoding, if it is its turn.
func (r *report) sample() {
	if r.place.Mode != config.Predicted {
		return
	}
	if l := r.drift.next(); l >= 0 && r.place.Predicted[l] {
		r.ec.Audit, r.ec.AuditLayer = r.drift.sampled, l
	}
}

// tell says what is to be said of the layer that a step sampled.
func (r *report) tell() {
	if l := r.ec.AuditLayer; l >= 0 && r.notify != nil {
		if s := r.drift.notice(l); s != "" {
			r.notify(s)
		}
	}
}
