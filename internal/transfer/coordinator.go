package transfer

import (
	"fmt"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Options is what a TransferCoordinator is made of.
type Options struct {
	Profile  config.ModelProfile
	Cache    *cache.WeightCache
	Transfer *disk.AsyncWeightTransfer
	// Slots is the memory of the cache's slots and, after them, the ring.
	Slots device.Slots
	// Separate moves a layer's bundles, all of which are in slots; see
	// cpu.Backend. Nil: they stay as they came.
	Separate func(s device.Slots, first int, at []int32) device.Slots
	// RingFirst and RingSlots say which slots are the ring; at least 2.
	RingFirst, RingSlots int
	// Bias is each layer's up bias, [layers][ffn], nil without biases.
	Bias [][]float32
	// Predicted says which layers compute only what the predictor asks for;
	// the others compute all neurons. SetMode changes a layer's.
	Predicted []bool
	Predictor predict.ActivationPredictor
	Selection predict.Selection
	// SkipZero leaves the second half of silent neurons out, but in layers
	// that SetMode made dense.
	SkipZero bool
	// Scores is memory for scores, [most tokens, ffn].
	Scores []float32
	// Join reports whether one read of two runs of bundles and the gap between
	// them is cheaper than two, given their bytes. Nil: only runs without a gap
	// are joined.
	Join func(run, gap, next int64) bool
	// Scrap is memory for what lies in such gaps, page aligned, at least a
	// bundle if there is a Join.
	Scrap []byte
	// Beside has a function run while other threads compute; see
	// device.Backend. Nil: now. It must be on the thread that calls the
	// coordinator.
	Beside func(func())
	// Hidden is the most activations of one segment: neurons x tokens.
	Hidden int
	// Places is where each neuron's bundle lies among its layer's, [layers][ffn];
	// nil: in the order of neurons.
	Places [][]int32
}

// Stats counts what a coordinator did. Neurons are counted once for each layer
// pass, however many tokens wanted them. A pass that ends with an error counts
// as far as Begin got.
type Stats struct {
	Wanted  int64         // neurons to compute
	Misses  int64         // of these, read for this pass, early or not
	Early   int64         // neurons read early
	Wasted  int64         // of these, not wanted after all
	Stall   time.Duration // spent waiting for reads
	Predict time.Duration // spent asking the predictor
}

// TransferCoordinator plans and starts the reads of one model.
type TransferCoordinator struct {
	Options
	Stats Stats
	// Exact computes every neuron in the layers with a predictor too.
	Exact bool
	// Prompts is how layers decide what they compute for prompts, Gate or Dense;
	// empty: as in decoding.
	Prompts config.Mode
	// Wanted, if not nil, sees what each pass is to compute, ascending.
	Wanted func(layer int, ids []int32)

	ordered  []device.Slots // [layers] of layers that Separate has moved
	modes    []config.Mode  // [layers] Predicted, Gate or Dense
	multiple []float64      // [layers] of the Selection
	guesses  []guess        // [layers] what the forecasts were worth
	all      []int32        // 0 to ffn-1
	inflight []*disk.Read   // [slots] what fills each, nil if nothing does
	flying   int            // of inflight, how many are not nil
	ahead    []aheadRead
	fresh    []int32  // neurons that the latest Lookahead reads, ascending
	prepared *Work    // made by Lookahead, waiting for Begin
	work     Work     // the one Work there is at a time, for its buffers
	marks    []uint64 // [ffn, words] which token wants which neuron
	keep     []uint64 // of the latest Audit

	// What waits to be done beside an operation, in order: catchUp does it now.
	todo []func()
	// Method values, made once.
	catch, submit, look, fetch, check, release func()
	looking                                    struct{ layer, tokens int } // of look

	bundles           []bundle // of the latest plan, where there are Places
	placeBuf, slotBuf []int32
	planned           NeuronTransferPlan
}

// aheadRead is a slot that Lookahead is filling and has pinned meanwhile.
type aheadRead struct {
	layer    int
	slot, id int32
}

// NewTransferCoordinator makes a coordinator.
func NewTransferCoordinator(o Options) *TransferCoordinator {
	c := &TransferCoordinator{
		Options:  o,
		ordered:  make([]device.Slots, o.Profile.Layers),
		modes:    make([]config.Mode, o.Profile.Layers),
		multiple: make([]float64, o.Profile.Layers),
		guesses:  make([]guess, o.Profile.Layers),
		all:      make([]int32, o.Profile.FFN),
		inflight: make([]*disk.Read, o.RingFirst+o.RingSlots),
	}
	for l := range c.modes {
		c.multiple[l] = o.Selection.Multiple
		switch {
		case o.Predicted[l]:
			c.modes[l] = config.Predicted
		case o.SkipZero:
			c.modes[l] = config.Gate
		default:
			c.modes[l] = config.Dense
		}
	}
	for i := range c.all {
		c.all[i] = int32(i)
	}
	c.work.c = c
	c.catch, c.submit, c.look = c.catchUp, c.Transfer.Submit, c.readAhead
	c.fetch, c.check, c.release = c.work.fetch, c.work.check, c.work.release
	if c.Beside == nil {
		c.Beside = func(f func()) { f() }
	}
	return c
}

// Lookahead starts the reads that the layer's MLP will likely need. x is the
// forecast of its input, [tokens, d]. With decode the tokens are the newest of
// their sequences and the cache may evict for them.
func (c *TransferCoordinator) Lookahead(layer int, x device.Act, decode bool) error {
	c.fresh = c.fresh[:0]
	if !c.Transfer.Async() {
		return nil
	}
	if !c.predicts(layer, decode) {
		// Nothing to guess: these are the very reads that Begin would start.
		c.catchUp()
		c.reap(false)
		c.prepared = c.newWork(layer, x.Rows, c.all, nil, decode)
		return nil
	}
	if !decode {
		// A prompt's tokens together want most neurons, through the ring,
		// whose order must be known.
		return nil
	}
	if c.Cache.Complete(layer) || c.guesses[layer].off {
		return nil // nothing to read, or no use in guessing
	}
	if err := c.score(layer, x); err != nil {
		return err
	}
	c.looking.layer, c.looking.tokens = layer, x.Rows
	c.later(c.look)
	return nil
}

// readAhead is what Lookahead does with the scores.
func (c *TransferCoordinator) readAhead() {
	layer := c.looking.layer
	c.reap(false)
	ids, _ := c.pick(layer, c.looking.tokens)
	if len(ids) > c.Cache.Slots(layer) {
		return
	}
	slots := c.work.slotsFor(len(ids))
	grants := c.Cache.Acquire(layer, ids, slots, true, c.work.grants[:0])
	c.work.grants = grants
	c.read(layer, ids, slots, grants)
	c.submit()
	for _, i := range grants {
		c.ahead = append(c.ahead, aheadRead{layer, slots[i], ids[i]})
		c.fresh = append(c.fresh, ids[i])
		slots[i] = -1 // stays pinned
	}
	c.Stats.Early += int64(len(c.fresh))
	c.Cache.Release(layer, slots, false)
}

// Begin decides what the layer computes for its exact input x, [tokens, d],
// and starts the reads that are still missing. The Work is valid until it is
// closed, before which the coordinator must not be asked for anything else.
func (c *TransferCoordinator) Begin(layer int, x device.Act, decode bool) (*Work, error) {
	c.catchUp()
	if w := c.prepared; w != nil {
		c.prepared = nil
		c.tell(layer, w.ids)
		return w, nil
	}
	if !c.predicts(layer, decode) {
		c.reap(false)
		c.tell(layer, c.all)
		return c.newWork(layer, x.Rows, c.all, nil, decode), nil
	}
	ids, wants, err := c.want(layer, x)
	if err != nil {
		return nil, err
	}
	c.tell(layer, ids)
	if decode && len(ids) <= min(c.Cache.Slots(layer), c.most(x.Rows)) {
		return c.quickWork(layer, x.Rows, ids, wants), nil
	}
	c.reapBut(ids)
	return c.newWork(layer, x.Rows, ids, wants, decode), nil
}

// later has f done beside an operation.
func (c *TransferCoordinator) later(f func()) {
	c.todo = append(c.todo, f)
	if len(c.todo) == 1 {
		c.Beside(c.catch)
	}
}

// catchUp does what was to be done later.
func (c *TransferCoordinator) catchUp() {
	if len(c.todo) == 0 {
		return
	}
	for _, f := range c.todo { // none of which adds to it
		f()
	}
	c.todo = c.todo[:0]
}

// tell tells Wanted.
func (c *TransferCoordinator) tell(layer int, ids []int32) {
	if c.Wanted != nil {
		c.Wanted(layer, ids)
	}
}

// predicts reports whether a layer computes what the predictor asks for.
func (c *TransferCoordinator) predicts(layer int, decode bool) bool {
	return c.mode(layer, decode) == config.Predicted && !c.Exact
}

// mode is the mode of a layer in decoding or for prompts.
func (c *TransferCoordinator) mode(layer int, decode bool) config.Mode {
	if !decode && c.Prompts != "" {
		return c.Prompts
	}
	return c.modes[layer]
}

// SlotsOf is where the slots of a layer's Work are, until it is closed.
func (c *TransferCoordinator) SlotsOf(layer int) device.Slots {
	if s := c.ordered[layer]; s.Data != nil {
		return s
	}
	return c.Slots
}

// order has the bundles of a layer separated that is complete, since nothing
// will be read into it again: what computes all neurons then reads first halves
// in order, and second halves.
func (c *TransferCoordinator) order(layer int) {
	if c.Separate == nil || c.ordered[layer].Data != nil || !c.Cache.Complete(layer) {
		return
	}
	if first, was := c.Cache.Order(layer); was != nil {
		c.ordered[layer] = c.Separate(c.Slots, first, was)
	}
}

// Mode is how a layer decides what it computes: Predicted, Gate or Dense.
func (c *TransferCoordinator) Mode(layer int) config.Mode { return c.modes[layer] }

// SetMode changes how a layer decides what it computes, from its next pass on.
// Predicted needs a predictor that knows the layer.
func (c *TransferCoordinator) SetMode(layer int, m config.Mode) { c.modes[layer] = m }

// SetMultiple changes how many neurons a layer computes for each that the
// predictor scores above zero, from its next pass on.
func (c *TransferCoordinator) SetMultiple(layer int, multiple float64) { c.multiple[layer] = multiple }

// Audit is Begin for a layer all of whose neurons are to be computed, to see
// what the predictor misses: keep has a bit per neuron and token, in words of
// 64 tokens as in device.Work, that says who would be computed. It is nil where
// that is everyone, and valid until the Work is closed. What it judges is
// decoding, though the tokens may be a prompt's.
func (c *TransferCoordinator) Audit(layer int, x device.Act) (w *Work, keep []uint64, err error) {
	c.catchUp()
	c.reap(false)
	if c.predicts(layer, true) {
		ids, wants, err := c.want(layer, x)
		if err != nil {
			return nil, nil, err
		}
		c.tell(layer, ids)
		words := wantWords(x.Rows)
		c.keep = append(c.keep[:0], make([]uint64, c.Profile.FFN*words)...)
		for i, id := range ids {
			at := c.keep[int(id)*words : (int(id)+1)*words]
			if wants == nil {
				at[0] = 1
			} else {
				copy(at, wants[i*words:])
			}
		}
		keep = c.keep
	} else {
		c.tell(layer, c.all)
	}
	stats := c.Stats
	w = c.newWork(layer, x.Rows, c.all, nil, false)
	c.Stats = stats // an audit's reads are not the predictor's
	return w, keep, nil
}

// Abort drops what Lookahead prepared, after an error between it and Begin.
func (c *TransferCoordinator) Abort() {
	c.catchUp()
	if c.prepared != nil {
		c.prepared.Close()
		c.prepared = nil
	}
}

// Settle waits for all reads, after which nothing is pinned.
func (c *TransferCoordinator) Settle() {
	c.Abort()
	c.reap(true)
}

// Close waits for all reads.
func (c *TransferCoordinator) Close() { c.Settle() }

// want asks the predictor. The neurons that any token wants come back in
// ascending order, with a bit per neuron and token if there are several
// tokens. Both are valid until the next call.
func (c *TransferCoordinator) want(layer int, x device.Act) (ids []int32, wants []uint64, err error) {
	if err := c.score(layer, x); err != nil {
		return nil, nil, err
	}
	ids, wants = c.pick(layer, x.Rows)
	return ids, wants, nil
}

// score sets Scores to what the predictor makes of x, [tokens, d].
func (c *TransferCoordinator) score(layer int, x device.Act) error {
	begin := time.Now()
	defer func() { c.Stats.Predict += time.Since(begin) }()
	if err := c.Predictor.Scores(layer, x.Rows, x.Data[:x.Rows*x.Cols], c.Scores[:x.Rows*c.Profile.FFN]); err != nil {
		return fmt.Errorf("transfer: predict layer %d: %w", layer, err)
	}
	return nil
}

// pick is the neurons that Scores, [tokens, ffn], asks for, as want returns them.
func (c *TransferCoordinator) pick(layer, tokens int) (ids []int32, wants []uint64) {
	begin := time.Now()
	defer func() { c.Stats.Predict += time.Since(begin) }()
	ffn := c.Profile.FFN
	c.Selection.Multiple = c.multiple[layer]
	ids = c.work.idBuf[:0]
	if tokens == 1 {
		scores := c.Scores[:ffn]
		ids = above(ids, scores, c.Selection.Threshold(scores))
		c.work.idBuf = ids
		return ids, nil
	}
	words := wantWords(tokens)
	c.marks = append(c.marks[:0], make([]uint64, ffn*words)...)
	for t := range tokens {
		row := c.Scores[t*ffn : (t+1)*ffn]
		ids = above(ids[:0], row, c.Selection.Threshold(row))
		for _, i := range ids {
			c.marks[int(i)*words+t>>6] |= 1 << (t & 63)
		}
	}
	// Close the gaps of neurons that nobody wants.
	ids, wants = ids[:0], c.marks[:0]
	for i := range ffn {
		m := c.marks[i*words : (i+1)*words]
		any := uint64(0)
		for _, w := range m {
			any |= w
		}
		if any != 0 {
			ids = append(ids, int32(i))
			wants = append(wants, m...)
		}
	}
	c.work.idBuf = ids
	return ids, wants
}

func wantWords(tokens int) int { return (tokens + 63) / 64 }

// joins is Join in neurons.
func (c *TransferCoordinator) joins(run, gap, next int) bool {
	stride := c.Slots.Stride
	return c.Join != nil && c.Join(int64(run)*stride, int64(gap)*stride, int64(next)*stride)
}

// read starts the reads of neurons, as plan plans them, with the next submit.
func (c *TransferCoordinator) read(layer int, ids, slots, which []int32) {
	p := &c.planned
	c.plan(p, layer, ids, slots, which)
	for _, run := range p.Runs {
		r := c.Transfer.StartBundles(p.Layer, int(run.First), run.Slots, c.Slots, c.Scrap)
		for _, s := range run.Slots {
			if s >= 0 {
				c.inflight[s] = r
				c.flying++
			}
		}
	}
}

// arrived waits for the bundle in slot, if it is on its way. On an error the
// slot's neuron is missing again.
func (c *TransferCoordinator) arrived(layer int, slot int32) error {
	r := c.inflight[slot]
	if r == nil {
		return nil
	}
	err := r.Wait()
	c.drop(slot)
	if err != nil && int(slot) < c.RingFirst {
		c.Cache.Forget(layer, slot)
	}
	return err
}

// drop ends the interest in the read that fills slot.
func (c *TransferCoordinator) drop(slot int32) {
	c.inflight[slot].Release()
	c.inflight[slot] = nil
	c.flying--
}

// reap unpins the slots that Lookahead filled, if their reads have ended or,
// with wait, after waiting. A failed read is no error here: whoever wants the
// neuron finds it missing and reads it again.
func (c *TransferCoordinator) reap(wait bool) {
	c.Transfer.Poll()
	c.reapIf(wait, func(aheadRead) bool { return true })
}

// reapBut is reap without waiting, but for those neurons of ids, ascending, that
// are to be computed now: these are checked meanwhile.
func (c *TransferCoordinator) reapBut(ids []int32) {
	c.Transfer.Poll()
	c.reapIf(false, func(a aheadRead) bool {
		_, now := slices.BinarySearch(ids, a.id)
		return !now
	})
}

func (c *TransferCoordinator) reapIf(wait bool, which func(aheadRead) bool) {
	left := c.ahead[:0]
	for _, a := range c.ahead {
		if !which(a) {
			left = append(left, a)
			continue
		}
		if r := c.inflight[a.slot]; r != nil && !wait && !r.Done() {
			left = append(left, a)
			continue
		}
		_ = c.arrived(a.layer, a.slot)
		c.Cache.Release(a.layer, []int32{a.slot}, false)
	}
	c.ahead = left
}
