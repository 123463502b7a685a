package calibrate

import (
	"fmt"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

const (
	sketchTokens  = 5450    // most tokens of a fit
	trainTokens   = 16352   // most tokens of a training
	leastFit      = 256     // fewer say nothing about rare neurons
	mostFileBytes = 4 << 30 // of all layers' inputs
	// mostHeapBytes is the most that is taken where no budget limits it.
	mostHeapBytes = 1 << 30
	// A point is evaluated on as many tokens as the work of all points allows,
	// some twenty minutes of two processors, within these bounds.
	pointWork   = 6e13 // multiplications and additions
	pointTokens = 2044
	leastPoint  = 512
	// flops is multiplications and additions a second and thread, for
	// estimates: what a fit and a pass reach, not what kernels do.
	flops     = 2e10
	trainTime = 20 * time.Minute // see Options
	// closedTokens is how many tokens factors in closed form are fitted to: the
	// covariance of the inputs asks for no more.
	closedTokens = 2044
	// mostStart is the highest rank of factors in closed form, a sixth of the
	// bytes of the sketch for layers of 4096 x 16384.
	mostStart = 128
	// fewestRank is the least rank that is worth considering: see trains.
	fewestRank = 64
	// trainLeast is the fewest tokens that are trained on and held out: below
	// it a layer's rank cannot be told from noise.
	trainLeast = 4 * leastFit
)

// needs is what a calibration is going to take, known before it begins.
type needs struct {
	tokens    int   // of the fit
	train     bool  // factors
	closed    bool  // in closed form
	codes     bool  // of a layer's own
	heapBytes int64 // beside the open model, or in its place
	fileBytes int64
	took      time.Duration // about
}

// String says it to a person.
func (n needs) String() string {
	what := "calibrating"
	switch {
	case n.closed:
		what = "calibrating, with factors in closed form,"
	case n.train:
		what = "training and calibrating"
	}
	return fmt.Sprintf("%s takes about %v, %s of memory beside the model and a file of %s",
		what, n.took.Round(time.Second), config.FormatSize(n.heapBytes), config.FormatSize(n.fileBytes))
}

// sketchBytes is the memory of one layer's calibrated sketch.
func sketchBytes(p config.ModelProfile) int64 {
	return int64(p.FFN) * (int64(pack.SketchBytes(p.HiddenSize)) + 8)
}

// trains reports whether factors are to be trained: where they are asked for,
// or where those of a rank that may be enough, fewestRank, would cost at most
// half of what the sketch does. In layers of 256 x 1024 they cost a fifth more
// than the sketch and find less, whatever their rank.
func (c *calibrator) trains() bool {
	p := c.profile
	switch c.Predictor {
	case "lowrank":
		return true
	case "":
		return 2*lowrank.FactorBytes(p.HiddenSize, p.FFN, fewestRank) <= sketchBytes(p)
	}
	return false
}

// rounds reports whether layers may have codes of their own: where they are
// asked for, or where rounding is quick beside what training may take.
func (c *calibrator) rounds() bool {
	switch {
	case c.Predictor == "lowrank" || c.Bits == sketchBits:
		return false
	case c.Bits > 0:
		return true
	}
	return c.seconds(c.roundingWork()) <= c.trainTime()/4
}

// roundingWork is the multiplications of rounding all layers.
func (c *calibrator) roundingWork() float64 {
	return float64(len(steps)) / 2 * c.fc1() * float64(c.profile.HiddenSize)
}

// fc1 is the elements of all layers' first halves.
func (c *calibrator) fc1() float64 {
	p := c.profile
	return float64(p.HiddenSize) * float64(p.FFN) * float64(p.Layers)
}

// seconds is about how long so many multiplications and additions take.
func (c *calibrator) seconds(work float64) time.Duration {
	return time.Duration(work / flops / float64(max(1, c.Threads)) * float64(time.Second))
}

// left is about how long the rest takes, once the text has been run through the
// model: what was estimated, at the pace that was found. What is done does not
// depend on it, so that the same seed gives the same sidecar.
func (c *calibrator) left() time.Duration {
	ran := c.seconds(float64(c.used) * c.params())
	pace := c.pace * float64(c.used) / max(1e-9, ran.Seconds())
	return time.Duration(float64(c.need.took-ran) * pace)
}

// needs decides how many tokens to learn from.
func (c *calibrator) needs() (needs, error) {
	n := needs{train: c.trains(), codes: c.rounds()}
	n.tokens = c.mostTokens(n.train)
	if n.train && n.tokens < trainLeast {
		err := c.tooSmall(true)
		if len(c.IDs)/2 < trainLeast {
			err = fmt.Errorf("calibrate: text %s: got %d tokens, want at least %d to train with", c.Text, len(c.IDs), 2*trainLeast)
		}
		if c.Predictor == "lowrank" {
			return n, err
		}
		c.notify("only sketches are calibrated: %v", err)
		n.train = false
		n.tokens = c.mostTokens(false)
	}
	if n.tokens < leastFit {
		return n, c.tooSmall(n.train)
	}
	p := c.profile
	token := c.params() + 2*c.fc1()
	work := float64(n.tokens) * token
	if n.train {
		rank := min(p.HiddenSize/4, mostStart)
		const epochs, ranks = 12, 2
		train := ranks * epochs * 3 * float64(n.tokens) * float64(rank) * float64(p.HiddenSize+p.FFN) * float64(p.Layers)
		if n.closed = c.Rank > 0 || c.seconds(work+train) > c.trainTime(); n.closed {
			n.tokens = min(n.tokens, closedTokens)
			work, train = float64(n.tokens)*token, 0
		}
		work += train + 16*float64(rank)*c.fc1() // and the decomposition
	}
	if n.codes {
		work += c.roundingWork()
	}
	n.heapBytes = c.heapBytes(n.tokens, n.train)
	n.fileBytes = inputBytes(p.Layers, p.HiddenSize, n.tokens)
	work += min(pointWork, 2*c.params()*float64(c.passes()*pointTokens))
	n.took = c.seconds(work)
	return n, nil
}

// trainTime is how long training may take.
func (c *calibrator) trainTime() time.Duration {
	if c.TrainTime > 0 {
		return c.TrainTime
	}
	return trainTime
}

// params is the multiplications of a token.
func (c *calibrator) params() float64 {
	p := c.profile
	d := float64(p.HiddenSize)
	return float64(p.Layers)*d*(4*d+2*float64(p.FFN)) + float64(p.VocabSize)*float64(p.EmbedDim)
}

// passes is how often the held-out text is run through the model.
func (c *calibrator) passes() int {
	if c.out.Floor == predict.FloorRecall {
		return recallPasses
	}
	return len(thresholds(1))
}

// heap is the memory that may be used.
func (c *calibrator) heap() int64 {
	if c.HeapBytes > 0 {
		return c.HeapBytes
	}
	return mostHeapBytes
}

// mostTokens is the most tokens that the text, the file and the heap allow.
func (c *calibrator) mostTokens(train bool) int {
	most := sketchTokens
	if train {
		most = trainTokens
	}
	most = min(most, len(c.IDs)/2, int(mostFileBytes/inputBytes(c.profile.Layers, c.profile.HiddenSize, 1)))
	fixed := c.heapBytes(0, train)
	return int(min(int64(most), max(0, c.heap()-fixed)/max(1, c.heapBytes(1, train)-fixed)))
}

// heapBytes is the heap that fitting one layer to tokens takes.
func (c *calibrator) heapBytes(tokens int, train bool) int64 {
	p, n := c.profile, int64(tokens)
	d, ffn := int64(p.HiddenSize), int64(p.FFN)
	b := sketchBytes(p) + 17*ffn*int64(p.Layers) // its sketch; all moments, and who is silent
	b += blockNeurons * c.Layout.BundleStride()
	b += n * (4*d + 2*4*blockNeurons + 8) // inputs; scores and pre-activations
	if c.rounds() {
		b += 12*d*d + ffn*d + 16*blockNeurons*d // covariance, also in float64; codes; a block of weights thrice
		b += n * 4 * d                          // inputs across
	}
	if train {
		rank := int64(min(p.HiddenSize, p.FFN) / 2)
		b += 2*4*d*ffn + 2*4*d*d + 3*tensor.F32.RowBytes(int(rank*(d+ffn))) // fc1 twice, covariance, factors with their moments
		b += n * (4*d + ffn)                                                // what is trained on: inputs again, an eighth active
		b += 1024 * 4 * ffn                                                 // a batch's scores
	}
	return b
}

func (c *calibrator) tooSmall(train bool) error {
	tokens := leastFit
	if train {
		tokens = trainLeast
	}
	return fmt.Errorf("calibrate: memory: got %s for training, want at least %s; raise --budget", config.FormatSize(c.heap()), config.FormatSize(c.heapBytes(tokens, train)))
}
