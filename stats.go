package sparseflow

import (
	"time"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/mirror"
)

// Stats is what a request took, without waiting for a model that was opened early
// (Counters.Loading). Counters cover the steps that the request was part of,
// other requests of these steps included.
type Stats struct {
	Mode         Mode          // Dense, Gate or, where any layer is, Predicted
	PromptTokens int           // of the prompt, a begin-of-text token included
	Reused       int           // of these, what the text before had computed
	Tokens       int           // generated
	Prefill      time.Duration // until the first token
	Decode       time.Duration // after it
	Counters                   // of the whole request
	Decoding     Counters      // of the part after the prompt
}

// TokensPerSecond is the speed of decoding. The first token comes out of the
// prompt's computation and does not count.
func (s Stats) TokensPerSecond() float64 { return mirror.To[engine.Stats](s).TokensPerSecond() }

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
func (c Counters) HitRate() float64 { return engine.Counters(c).HitRate() }

// ComputedShare is the share of all neurons that were computed.
func (c Counters) ComputedShare() float64 { return engine.Counters(c).ComputedShare() }

// Recall is the share of active neurons that were computed, as far as it was
// sampled; false if it was not.
func (c Counters) Recall() (float64, bool) { return engine.Counters(c).Recall() }

// OutputError is how far leaving neurons out moved the outputs of the layers
// that were sampled, relative to their size; false if none was.
func (c Counters) OutputError() (float64, bool) { return engine.Counters(c).OutputError() }

// CalibratedError is what OutputError would be on the calibration's text; false
// without a calibration or samples.
func (c Counters) CalibratedError() (float64, bool) { return engine.Counters(c).CalibratedError() }
