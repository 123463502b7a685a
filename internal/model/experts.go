package model

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// ExpertsLayer is the MLP half of a decoder layer that is a mixture of experts. The
// router names the experts of each token; the missing ones are read while the shared
// expert, if there is one, and those that are there are computed. Outputs are added in
// ascending order of experts once all are there, so that the sum is the same however
// the bytes came.
type ExpertsLayer struct {
	*Parts
	index  int
	w      *LayerWeights
	moe    config.MoE
	parts  [3]device.ExpertPart
	shared DenseMLPLayer
	next   *ExpertsLayer // of the layer after this, nil if that has none
}

// routing is which experts tokens want. Its memory serves again.
type routing struct {
	router  router
	k       int
	chosen  []int32   // [tokens, k] ascending
	weights []float32 // [tokens, k]
	pairs   []int32   // [tokens, k] the number of the pair in work
	at      []int32   // [experts] counts of pairs, then where the next one goes
	ids     []int32   // all that are wanted, ascending
	work    device.ExpertWork
	segment device.ExpertWork // of some of them
	guess   []int32           // [k] likeliest first
	order   []float32         // [k] what they are ordered by
}

func newRouting(experts, k, chunk int) routing {
	return routing{k: k,
		chosen: make([]int32, chunk*k), weights: make([]float32, chunk*k), pairs: make([]int32, chunk*k),
		at: make([]int32, experts), ids: make([]int32, 0, experts),
		work:    device.ExpertWork{Tokens: make([]int32, chunk*k), First: make([]int32, 0, experts+1)},
		segment: device.ExpertWork{Data: make([][3][]byte, experts)},
		guess:   make([]int32, k), order: make([]float32, k),
	}
}

// newExpertsLayer is the layer of an index. What its experts are made of is the pack's to
// say.
func newExpertsLayer(p *Parts, index int, w *LayerWeights) *ExpertsLayer {
	l := &ExpertsLayer{Parts: p, index: index, w: w, moe: p.Profile.MoE(index), shared: DenseMLPLayer{p, w}}
	for i, x := range p.Store.Pack().ExpertParts(index) {
		l.parts[i] = device.ExpertPart{DType: x.DType, Rows: x.Rows, Cols: x.Cols}
	}
	return l
}

// apply sets y to the weighted sum of the experts of each token, and the shared one.
func (l *ExpertsLayer) apply(ec *ExecutionContext, y, x device.Act) error {
	if err := l.route(ec, x); err != nil {
		return err
	}
	r := &ec.routing
	work := l.Coordinator.FetchExperts(ec.Step, l.index, x.Rows, r.ids)
	l.forecast(ec)
	if err := l.always(ec, y, x); err != nil {
		return err
	}
	out, again := ec.pairs.Top(x.Rows*r.k), false
	w := &r.segment
	w.Parts, w.Bias, w.Act, w.Tokens = l.parts, l.w.ExpertBias, l.Profile.Activation, r.work.Tokens[:x.Rows*r.k]
	for seg := range work.Segments {
		if err := ec.Ctx.Err(); err != nil {
			return err
		}
		n := len(seg.Units.IDs)
		w.IDs, w.Data, w.First = seg.Units.IDs, w.Data[:n], r.work.First[seg.First:][:n+1]
		for there, err := range seg.Arrivals {
			if err != nil {
				return err
			}
			for _, i := range there {
				w.Data[i] = seg.Parts(i)
			}
			w.SameInput, again = again, true
			l.Backend.Experts(out, x, w, there)
		}
	}
	l.Backend.Combine(y, out, r.pairs[:x.Rows*r.k], r.weights[:x.Rows*r.k], r.k)
	return nil
}

// route asks the router which experts the rows of x want.
func (l *ExpertsLayer) route(ec *ExecutionContext, x device.Act) error {
	logits := ec.logitsE.Top(x.Rows)
	if err := l.linear(ec, logits, x, &l.w.Router); err != nil {
		return err
	}
	r := &ec.routing
	r.k = l.moe.TopK
	for t := range x.Rows {
		at := t * r.k
		ids, weights := r.chosen[at:at+r.k], r.weights[at:at+r.k]
		if err := r.router.route(l.moe, logits.Row(t), l.w.ScoreBias, ids, weights); err != nil {
			err = fmt.Errorf("model: layer %d: %w", l.index, err)
			if len(ec.Spans) == 1 {
				return err
			}
			ec.failed[t] = cmp.Or(ec.failed[t], err)
			for j := range ids { // any will do
				ids[j], weights[j] = int32(j), 0
			}
		}
	}
	r.group(x.Rows)
	return nil
}

// group lists the experts that tokens want, and the tokens of each.
func (r *routing) group(tokens int) {
	clear(r.at)
	chosen := r.chosen[:tokens*r.k]
	for _, e := range chosen {
		r.at[e]++
	}
	n := int32(0)
	r.ids, r.work.First = r.ids[:0], r.work.First[:0]
	for e, wanted := range r.at {
		if wanted > 0 {
			r.ids, r.work.First = append(r.ids, int32(e)), append(r.work.First, n)
		}
		r.at[e] = n
		n += wanted
	}
	r.work.First = append(r.work.First, n)
	for i, e := range chosen {
		pair := r.at[e]
		r.at[e]++
		r.pairs[i], r.work.Tokens[pair] = pair, int32(i/r.k)
	}
}

// always sets y to what every token has: the shared expert's output, or zeros.
func (l *ExpertsLayer) always(ec *ExecutionContext, y, x device.Act) error {
	if l.moe.Shared == 0 {
		for t := range y.Rows {
			clear(y.Row(t))
		}
		return nil
	}
	if l.moe.SharedGate {
		if err := l.linear(ec, ec.sharedGate, x, &l.w.SharedGate); err != nil {
			return err
		}
	}
	if err := l.shared.apply(ec, y, x); err != nil {
		return err
	}
	if l.moe.SharedGate {
		for t := range y.Rows {
			row, by := y.Row(t), sigmoid(ec.sharedGate.Row(t)[0])
			for j := range row {
				row[j] *= by
			}
		}
	}
	return nil
}

// forecast guesses what the next layer will want of one token, as if the experts of
// this one added nothing to the residual stream, and has that read when the disk has
// nothing else to do.
func (l *ExpertsLayer) forecast(ec *ExecutionContext) {
	next := l.next
	if next == nil || ec.x.Rows != 1 || !l.Profile.PreNorm || next.w.Router.Data == nil ||
		!l.Coordinator.Forecasts(ec.Step, next.index) || l.Ready != nil && !l.Ready(next.index) {
		return
	}
	l.Backend.Norm(ec.ahead, ec.x, next.w.MLPNorm)
	logits, r := ec.logitsAhead, &ec.routing
	if l.linear(ec, logits, ec.ahead, &next.w.Router) != nil {
		return
	}
	guess, order := r.guess[:next.moe.TopK], r.order[:next.moe.TopK]
	if r.router.route(next.moe, logits.Row(0), next.w.ScoreBias, guess, order) != nil {
		return
	}
	for i := range guess { // the likeliest first: few, so that insertion is best
		for j := i; j > 0 && order[j] > order[j-1]; j-- {
			order[j], order[j-1], guess[j], guess[j-1] = order[j-1], order[j], guess[j-1], guess[j]
		}
	}
	l.Coordinator.PrefetchExperts(ec.Step, next.index, guess)
}

// denseWidth is the most neurons of any MLP that is computed densely, shared experts
// among them.
func denseWidth(p config.ModelProfile) (most int) {
	if p.Sparse() {
		return 0
	}
	if len(p.Kinds) == 0 {
		return p.FFN
	}
	for i, k := range p.Kinds {
		switch {
		case k.MoE.Experts > 0:
			most = max(most, k.MoE.Shared)
		case len(p.KindOf) == 0 && i == 0 || slices.Contains(p.KindOf, i):
			most = max(most, k.FFN)
			if k.FFN == 0 {
				most = max(most, p.FFN)
			}
		}
	}
	return most
}
