package transfer

// guess judges what a layer's forecasts are worth. A neuron that was read
// early and is wanted saved a wait; one that is not cost a read, and often
// pushed out a neuron that will be missed. Where more are wasted than wanted
// the layer guesses no more, which also saves asking the predictor twice.
// Nothing that is computed depends on it.
type guess struct {
	early, wasted int
	off           bool
}

// enoughGuesses is how many neurons must have been read early before they are
// judged. The first tokens of an empty cache, whose reads are nearly all
// wanted by somebody, are a part of them.
const enoughGuesses = 512

// judge counts one pass.
func (g *guess) judge(early, wasted int) {
	g.early += early
	g.wasted += wasted
	if g.early < enoughGuesses {
		return
	}
	if 2*g.wasted > g.early {
		g.off = true
	}
	// What is long ago counts less and less.
	g.early, g.wasted = g.early/2, g.wasted/2
}

// Guessing is the number of layers that start reads by a forecast of their
// input, of those that predict at all.
func (c *TransferCoordinator) Guessing() (on, of int) {
	for l := range c.guesses {
		if !c.predicts(l, true) {
			continue
		}
		of++
		if !c.guesses[l].off {
			on++
		}
	}
	return on, of
}
