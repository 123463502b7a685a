package engine

import (
	"context"
	"math"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/sample"
)

const (
	// measureTime is how long auto may measure when a model is opened, inputTime
	// the part of it that goes into real inputs to measure with, and promptTime
	// the part that is left for prompts.
	measureTime = 900 * time.Millisecond
	inputTime   = 300 * time.Millisecond
	promptTime  = 200 * time.Millisecond
	// probeTokens is how many tokens' inputs are measured with, where their
	// memory is no more than probeBytes.
	probeTokens = 8
	probeBytes  = 4 << 20
	// rounds is how often each layer is timed in each mode. The least counts:
	// what disturbs a measurement only ever adds.
	rounds = 8
	// fillBytes is what may be read to measure several layers, and oneBytes to
	// measure one, or to decode one token: some tenths of a second.
	fillBytes = 128 << 20
	oneBytes  = 512 << 20
	// worthIt is how much faster than an exact mode predicted must be to be
	// chosen: below that there is nothing to lose quality for.
	worthIt = 0.97
	// promptTokens is the prompt that one layer is timed with.
	promptTokens = 64
)

// choose sets the layers' modes for auto as they were chosen before; it reports
// false where that is still to be done, by chooseNow. Who brings a predictor wants
// it used.
func (e *Engine) choose(o Options) (chosen bool, err error) {
	if !e.place.Auto || o.Auto == nil || o.Predictor != nil {
		return true, nil
	}
	if e.place.Mode != config.Predicted {
		return true, e.chosenBare(o)
	}
	c, ok := o.Auto.Known(AutoKey(e.pack.Layout, e.place, o))
	if !ok || !c.valid(e.profile.Layers) {
		return false, nil
	}
	e.adopt(c)
	return true, nil
}

// chooseNow sets the layers' modes for auto as they are now measured.
func (e *Engine) chooseNow(ctx context.Context, o Options) error {
	c, err := e.measure(ctx)
	if err != nil {
		return err
	}
	o.Auto.Learned(AutoKey(e.pack.Layout, e.place, o), c)
	e.adopt(c)
	return nil
}

// adopt sets the layers' modes to those of c.
func (e *Engine) adopt(c Choice) {
	for l := range e.profile.Layers {
		m := letters[c.Modes[l]]
		if m == config.Predicted && !e.place.Predicted[l] {
			m = config.Gate
		}
		e.setMode(l, m)
	}
	if c.Prompts != "" {
		e.setPrompts(letters[c.Prompts[0]])
	}
	e.choice = &c
}

// setPrompts has all layers compute prompts in one mode.
func (e *Engine) setPrompts(m config.Mode) {
	for l := range e.prompts {
		e.prompts[l] = m
	}
}

// chosenBare takes over the choice of a placement without predictors.
func (e *Engine) chosenBare(o Options) error {
	place, err := plan(e.pack.Layout, o)
	if err != nil {
		return err
	}
	if bare, key := withoutPredictors(e.pack.Layout, place, o); bare != nil {
		if c, ok := o.Auto.Known(key); ok && c.valid(e.profile.Layers) {
			e.choice = &c
		}
	}
	return nil
}

// probe is the times of one layer, in seconds, by mode.
type probe struct {
	layer int
	times [len(probeModes)]float64
}

// probeModes are what auto chooses among. The first to be no slower than
// others wins.
var probeModes = [...]config.Mode{config.Gate, config.Dense, config.Predicted}

// measure times the layers in each mode with inputs of text that the model
// makes up, and chooses for each the fastest that holds the quality floor.
//
// A layer that not all neurons have slots for reads the others for every token
// in an exact mode, and is measured so. Layers for which there is no time are
// treated as those like them, and where there is none, predicted.
func (e *Engine) measure(ctx context.Context) (Choice, error) {
	if e.place.Token.SlowBytes > oneBytes {
		return e.decide(nil), nil // a token alone takes most of a second
	}
	begin := time.Now()
	inputs, err := e.probeInputs(ctx, begin.Add(inputTime))
	if err != nil {
		return Choice{}, err
	}
	probes, err := e.timeLayers(ctx, inputs, begin.Add(measureTime-promptTime))
	if err != nil {
		return Choice{}, err
	}
	c := e.decide(probes)
	// Under a budget an exact prompt, however short, reads all that has no slot.
	if len(probes) > 0 && e.place.Token.SlowBytes == 0 {
		c.Prompts, err = e.timePrompt(probes[len(probes)/2].layer, inputs, begin.Add(measureTime))
	}
	e.forget()
	return c, err
}

// probeInputs is the inputs [token][layer][d] of the MLPs for some tokens,
// which the model draws one after the other.
func (e *Engine) probeInputs(ctx context.Context, until time.Time) ([][][]float32, error) {
	n := min(probeTokens, max(2, probeBytes/(4*e.profile.Layers*e.profile.HiddenSize)), e.place.Context)
	sampler, err := sample.New(sample.Params{Temperature: 1, Seed: 1})
	if err != nil {
		return nil, err
	}
	ec := e.ec
	var inputs [][][]float32
	ec.Ctx, ec.Decode, ec.AuditLayer = ctx, true, -1
	ec.ObserveInput = func(_ int, _, x device.Act) {
		last := len(inputs) - 1
		inputs[last] = append(inputs[last], append([]float32(nil), x.Row(0)...))
	}
	var seq kv.Seq
	defer func() {
		ec.ObserveInput = nil
		e.kv.Release(&seq)
	}()
	ids := []int32{max(0, e.profile.BOS)}
	for t := range n {
		if t > 0 && time.Now().After(until) {
			break
		}
		inputs = append(inputs, nil)
		ec.Spans = append(ec.Spans[:0], device.Span{Seq: &seq, Pos: t, N: 1})
		if err := e.kv.Grow(&seq, 1); err != nil {
			return nil, err
		}
		if err := e.model.Forward(ec, ids[t:]); err != nil {
			return nil, err
		}
		logits, err := e.model.Logits(ec, ec.Final(0, 1), 0)
		if err != nil {
			return nil, err
		}
		id, err := sampler.Sample(logits.Row(0), ids)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	e.coordinator.Close()
	return inputs, nil
}

// timeLayers times as many layers as there is time for. As in decoding, all
// layers are computed in a mode before the next, so that no layer finds its
// weights in the processor's cache because it was computed just before.
func (e *Engine) timeLayers(ctx context.Context, inputs [][][]float32, until time.Time) ([]probe, error) {
	probes := e.probed()
	e.ec.Ctx = ctx
	for i := range probes {
		for m := range probes[i].times {
			probes[i].times[m] = math.Inf(1)
		}
	}
	for r := range rounds + 1 {
		x := inputs[r%len(inputs)]
		for m, mode := range probeModes {
			for i := range probes {
				p := &probes[i]
				if mode == config.Predicted && !e.predictable(p.layer) {
					continue
				}
				if r > 1 && time.Now().After(until) {
					return e.probesDone(probes), nil
				}
				took, err := e.timeLayer(p.layer, mode, x[p.layer])
				if err != nil {
					return nil, err
				}
				if r > 0 { // the first round fills slots and caches, the second is always timed
					p.times[m] = min(p.times[m], took)
				}
			}
		}
	}
	return e.probesDone(probes), nil
}

// timeLayer is the seconds that one layer takes in a mode.
func (e *Engine) timeLayer(layer int, mode config.Mode, x []float32) (float64, error) {
	was := e.modes[layer]
	defer func() { e.modes[layer] = was }()
	e.modes[layer] = mode
	begin := time.Now()
	err := e.model.Probe(e.ec, layer, device.Act{Data: x, Rows: 1, Cols: len(x), Stride: len(x)}, true)
	return time.Since(begin).Seconds(), err
}

// timePrompt times one layer with a prompt in each mode, and returns the letter
// of an exact mode if that is no slower than predicting, else nothing. Where
// each token wants many neurons, leaving some out saves less than multiplying
// matrices whole does.
//
// There are fewer inputs than tokens, so that the tokens together want fewer
// neurons than a text's, in favour of predicting; what a token costs is the
// same.
func (e *Engine) timePrompt(layer int, inputs [][][]float32, until time.Time) (string, error) {
	x := device.NewAct(min(promptTokens, e.place.Chunk), e.profile.HiddenSize)
	for t := range x.Rows {
		copy(x.Row(t), inputs[t%len(inputs)][layer])
	}
	var times [len(probeModes)]float64
	for m := range times {
		times[m] = math.Inf(1)
	}
	defer func() { copy(e.prompts, e.modes) }()
	for r := range rounds {
		for m, mode := range probeModes {
			if mode == config.Predicted && !e.predictable(layer) {
				continue
			}
			if r > 0 && time.Now().After(until) {
				break
			}
			e.setPrompts(mode)
			begin := time.Now()
			if err := e.model.Probe(e.ec, layer, x, false); err != nil {
				return "", err
			}
			times[m] = min(times[m], time.Since(begin).Seconds())
		}
	}
	return promptMode(times), nil
}

// promptMode is the letter of the mode that times [probeModes] speak for; none
// for predicted, which is what decoding does too.
func promptMode(times [len(probeModes)]float64) string {
	if best := fastest(times); probeModes[best] != config.Predicted {
		return string(probeModes[best][0])
	}
	return ""
}

// fastest is the mode, an index of probeModes, that is worth choosing.
func fastest(times [len(probeModes)]float64) int {
	best := 0
	for m := range probeModes {
		limit := times[best]
		if probeModes[m] == config.Predicted {
			limit *= worthIt
		}
		if times[m] < limit {
			best = m
		}
	}
	return best
}

// probed are the layers to measure: as many as may be read, spread evenly.
func (e *Engine) probed() []probe {
	layers := e.profile.Layers
	bytes := int64(e.profile.FFN) * e.pack.BundleStride()
	n := int(min(int64(layers), fillBytes/bytes))
	if n == 0 && bytes <= oneBytes {
		n = 1
	}
	var probes []probe
	for i := range n {
		probes = append(probes, probe{layer: i * layers / n})
	}
	return probes
}

// forget empties the layers that hold what an exact pass happened to leave in
// their slots: decoding would not have put that there.
func (e *Engine) forget() {
	e.coordinator.Close()
	for _, p := range e.probed() {
		if e.place.Slots[p.layer] < e.profile.FFN {
			e.cache.Clear(p.layer)
		}
	}
}

// probesDone is the probes that are complete.
func (e *Engine) probesDone(probes []probe) []probe {
	var done []probe
	for _, p := range probes {
		complete := true
		for m, mode := range probeModes {
			complete = complete && (!math.IsInf(p.times[m], 1) || mode == config.Predicted && !e.predictable(p.layer))
		}
		if complete {
			done = append(done, p)
		}
	}
	return done
}

// predictable reports whether a layer may be predicted: it has a predictor,
// and that holds the quality floor.
func (e *Engine) predictable(layer int) bool {
	return e.place.Predicted[layer] && e.holds && e.modes[layer] == config.Predicted
}

// decide makes a choice of what was measured.
func (e *Engine) decide(probes []probe) Choice {
	c := Choice{Measured: len(probes)}
	modes := make([]byte, e.profile.Layers)
	votes := map[bool]map[byte]int{true: {}, false: {}} // by whether all neurons have slots
	for _, p := range probes {
		modes[p.layer] = probeModes[fastest(p.times)][0]
		votes[e.place.Slots[p.layer] == e.profile.FFN][modes[p.layer]]++
		c.Gate += 1e6 * p.times[0]
		c.Dense += 1e6 * p.times[1]
		if !math.IsInf(p.times[2], 1) {
			c.Predicted += 1e6 * p.times[2]
		}
	}
	for l := range modes {
		if modes[l] != 0 {
			continue
		}
		modes[l] = config.Gate[0]
		if v := votes[e.place.Slots[l] == e.profile.FFN]; e.predictable(l) && v['p'] >= v['g']+v['d'] {
			modes[l] = config.Predicted[0]
		}
	}
	c.Modes = string(modes)
	return c
}
