package calibrate

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
)

const (
	sketchTokens = 5450 // most tokens of a fit
	// factorTokens is the most tokens of a fit where factors are made too: the
	// covariance of the inputs asks for no more.
	factorTokens  = 2044
	leastFit      = 256          // fewer say nothing about rare neurons
	leastFactors  = 4 * leastFit // fewer do not tell a layer's rank from noise
	mostFileBytes = 4 << 30      // of all layers' inputs
	// mostHeapBytes is the most that is taken where no budget limits it.
	mostHeapBytes = 1 << 30
	// A point is evaluated on as many tokens as the work of all points allows,
	// some twenty minutes of two processors, within these bounds.
	pointWork   = 6e13 // multiplications and additions
	pointTokens = 2044
	leastPoint  = 512
	// mostRounding is the most multiplications that rounding codes may take:
	// some five minutes of two processors. A sidecar does not depend on how fast
	// the machine is that made it, so that this is no measure of time.
	mostRounding = 1.2e13
	// mostRank is the highest rank that is considered, a sixth of the bytes of
	// the sketch for layers of 4096 x 16384, and fewestRank the least.
	mostRank   = 128
	fewestRank = 64
)

// needs is what a calibration is going to take, known before it begins.
type needs struct {
	tokens    int   // of the fit
	factors   bool  // of low rank
	codes     bool  // of a layer's own
	heapBytes int64 // beside the open model, or in its place
	fileBytes int64
}

// String says it to a person.
func (n needs) String() string {
	what := "calibrating"
	if n.factors {
		what += ", with factors of low rank,"
	}
	return fmt.Sprintf("%s takes %s of memory beside the model and a file of %s",
		what, config.FormatSize(n.heapBytes), config.FormatSize(n.fileBytes))
}

// sketchBytes is the memory of one layer's calibrated sketch.
func sketchBytes(p config.ModelProfile) int64 {
	return int64(p.FFN) * (int64(pack.SketchBytes(p.HiddenSize)) + 8)
}

// ranks are the ranks of the factors that are considered.
func (c *calibrator) ranks() []int {
	least, most, maxBytes := fewestRank, mostRank, int64(0)
	if c.Rank > 0 {
		least, most = c.Rank, c.Rank
	}
	if c.Predictor == "" {
		maxBytes = sketchBytes(c.profile)
	}
	return ranks(c.profile.HiddenSize, c.profile.FFN, least, most, maxBytes)
}

// factorsPay reports whether factors are to be made: where they are asked for,
// or where those of a rank that may be enough, fewestRank, would cost at most
// half of what the sketch does. In layers of 256 x 1024 they cost a fifth more
// than the sketch and find less, whatever their rank.
func (c *calibrator) factorsPay() bool {
	p := c.profile
	switch c.Predictor {
	case "lowrank":
		return true
	case "":
		return 2*lowrank.FactorBytes(p.HiddenSize, p.FFN, fewestRank) <= sketchBytes(p)
	}
	return false
}

// codesPay reports whether layers may have codes of their own: where they are
// asked for, or where rounding is not too much work.
func (c *calibrator) codesPay() bool {
	p := c.profile
	d := float64(p.HiddenSize)
	switch {
	case c.Predictor == "lowrank" || c.Bits == sketchBits:
		return false
	case c.Bits > 0:
		return true
	}
	return float64(len(steps))/2*d*d*float64(p.FFN)*float64(p.Layers) <= mostRounding
}

// needs decides how many tokens to learn from.
func (c *calibrator) needs() (needs, error) {
	n := needs{factors: c.factorsPay(), codes: c.codesPay()}
	n.tokens = c.mostTokens(n.factors)
	if n.factors && n.tokens < leastFactors {
		err := c.tooSmall(true)
		if len(c.IDs)/2 < leastFactors {
			err = fmt.Errorf("calibrate: text %s: got %d tokens, want at least %d to make factors with", c.Text, len(c.IDs), 2*leastFactors)
		}
		if c.Predictor == "lowrank" {
			return n, err
		}
		c.notify("only sketches are calibrated: %v", err)
		n.factors = false
		n.tokens = c.mostTokens(false)
	}
	if n.tokens < leastFit {
		return n, c.tooSmall(n.factors)
	}
	n.heapBytes = c.heapBytes(n.tokens, n.factors)
	n.fileBytes = inputBytes(c.profile.Layers, c.profile.HiddenSize, n.tokens)
	return n, nil
}

// params is the multiplications of a token.
func (c *calibrator) params() float64 {
	p := c.profile
	d := float64(p.HiddenSize)
	return float64(p.Layers)*d*(4*d+float64(p.NeuronParts)*float64(p.FFN)) + float64(p.VocabSize)*float64(p.EmbedDim)
}

// mostTokens is the most tokens that the text, the file and the heap allow.
func (c *calibrator) mostTokens(factors bool) int {
	most := sketchTokens
	if factors {
		most = factorTokens
	}
	most = min(most, len(c.IDs)/2, int(mostFileBytes/inputBytes(c.profile.Layers, c.profile.HiddenSize, 1)))
	fixed := c.heapBytes(0, factors)
	return int(min(int64(most), max(0, c.HeapBytes-fixed)/max(1, c.heapBytes(1, factors)-fixed)))
}

// heapBytes is the heap that fitting one layer to tokens takes.
func (c *calibrator) heapBytes(tokens int, factors bool) int64 {
	p, n := c.profile, int64(tokens)
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	b := sketchBytes(p) + 17*ffn*int64(p.Layers)                                                     // its sketch; all moments, and who is silent
	parts := int64(p.NeuronParts - 1)                                                                // before the last
	b += parts*c.Layout.MLPDType().RowBytes(p.HiddenSize)*ffn + blockNeurons*c.Layout.BundleStride() // these; bundles being read
	b += n * (4*d + (1+parts)*4*blockNeurons + 12)                                                   // inputs; scores and products
	codes := c.codesPay()
	if codes || factors {
		b += 4*d*d + n*4*d // covariance; inputs across
	}
	if codes {
		b += 8*d*d + ffn*d + 16*blockNeurons*d // covariance in float64; codes; a block of weights thrice
	}
	if factors {
		rs := c.ranks()
		rank := int64(rs[len(rs)-1])
		b += 2*4*d*ffn + 4*d*d            // fc1 twice, covariance with the ridge
		b += 6 * 4 * 2 * rank * (d + ffn) // directions, of which there are more than the rank, and factors
		b += int64(len(rs)) * n * 4 * rank
	}
	return b
}

func (c *calibrator) tooSmall(factors bool) error {
	tokens := leastFit
	if factors {
		tokens = leastFactors
	}
	return &placement.BudgetError{
		What: "memory", Got: config.FormatSize(c.HeapBytes) + " for training",
		Minimum: config.FormatSize(c.heapBytes(tokens, factors)), Advice: "raise --budget",
	}
}
