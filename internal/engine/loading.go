package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// loading is what is read before the model can run, layer after layer: what is
// resident, and the neurons that slots begin with. A first step need not wait for
// the last layers to begin with the first.
type loading struct {
	e        *Engine
	loader   model.Loader
	transfer *disk.AsyncWeightTransfer // of its own, so that no request is taken to have read this
	hot      [][]int32                 // [layers]
	warming  []*transfer.Preload       // [layers], none before warm
	progress func(done, total int64)   // may be nil
	loaded   int64                     // bytes
	total    int64

	// Of start.
	ctx    context.Context // until close
	cancel context.CancelFunc
	parts  []loadingPart // Shared, then the layers
	beside sync.WaitGroup
}

// loadingPart is how far a layer has come.
type loadingPart struct {
	done chan struct{} // closed when it is there, or will not come
	err  error         // once done
}

// newLoading loads nothing yet; stream is memory for blocks on their way.
func (e *Engine) newLoading(o Options, stream [][]byte) *loading {
	l := &loading{e: e, transfer: e.newTransfer(o), hot: e.hot(o), progress: o.Progress, total: e.place.LoadBytes}
	l.loader = model.Loader{Store: e.store, Memory: e.memory, Resident: e.place.Resident, Progress: l.count,
		Stream: disk.NewBlockReader(l.transfer, stream)}
	for _, ids := range l.hot {
		l.total += int64(len(ids)) * e.pack.BundleStride()
	}
	return l
}

// count tells of n more bytes.
func (l *loading) count(n int64) {
	if l.loaded += n; l.progress != nil {
		l.progress(l.loaded, l.total)
	}
}

// preloadTokens is how many tokens of a prompt would want, at least once, what
// is loaded before there is one. Neurons seldomer than that come when they are
// wanted: loading a whole large cache first would only put off the first token.
// On q8_0 at OPT-6.7B's size 64 put it off by 2 s of 9, for a hundred tokens that
// took as long in all.
const preloadTokens = 12

// hot is the neurons of each layer that are loaded before there is a prompt, the
// hottest first: as many as a profile says will be wanted, and have slots. Where
// every neuron is computed none is hotter than another.
func (e *Engine) hot(o Options) [][]int32 {
	hot := make([][]int32, e.profile.Layers)
	if o.Counts == nil || e.place.Mode != config.Predicted {
		return hot
	}
	for l, slots := range e.place.Slots {
		if !e.place.Predicted[l] {
			continue
		}
		ids, counts := o.Counts.Hottest(l), o.Counts.Neurons[l]
		n := 0
		for n < slots && int(counts[ids[n]])*preloadTokens >= max(o.Counts.Tokens, 1) {
			n++
		}
		hot[l] = ids[:n]
	}
	return hot
}

// prepare has the memory made ready that is about to be written, in the order in
// which it will be: of each layer its matrices and predictor, and its first slots,
// for hot neurons; all slots where the first token fills them.
func (e *Engine) prepare(slots device.Slots) {
	l := e.loading
	parts := l.loader.Room(model.Shared)
	first := 0
	for layer, n := range e.place.Slots {
		fill := n
		if e.place.Mode == config.Predicted {
			fill = len(l.hot[layer])
		}
		parts = append(parts, l.loader.Room(layer)...)
		parts = append(parts, slots.Data[int64(first)*slots.Stride:][:int64(fill)*slots.Stride])
		first += n
	}
	e.memory.Prepare(parts...)
}

// warm has hot neurons loaded too.
func (l *loading) warm() {
	l.warming = make([]*transfer.Preload, l.e.profile.Layers)
	for layer, ids := range l.hot {
		l.warming[layer] = l.e.coordinator.Preload(layer, ids)
	}
}

// read reads what was not read before.
func (l *loading) read(ctx context.Context) error {
	for layer := model.Shared; layer < l.e.profile.Layers; layer++ {
		if err := l.part(ctx, layer); err != nil {
			return err
		}
	}
	return nil
}

// part reads what is still to be read of a layer, or of model.Shared.
func (l *loading) part(ctx context.Context, layer int) error {
	if layer == model.Shared || l.warming == nil {
		return l.loader.Read(ctx, layer)
	}
	hot := l.warming[layer]
	hot.Start(l.transfer) // which come while matrices are copied
	err := l.loader.Read(ctx, layer)
	if failed := hot.Wait(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	l.count(hot.Bytes())
	if layer == l.e.profile.Layers-1 {
		l.count(l.total - l.loaded) // predictors that were read before
	}
	return ctx.Err()
}

// start reads beside the first steps, which wait.
func (l *loading) start() {
	l.parts = make([]loadingPart, 1+l.e.profile.Layers)
	l.e.model.Loaded = l.wait
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.readFrom(0)
}

// readFrom reads the parts from first on beside what waits for them. After an error
// there is no more to come.
func (l *loading) readFrom(first int) {
	parts := l.parts[first:]
	for i := range parts {
		parts[i] = loadingPart{done: make(chan struct{})}
	}
	l.beside.Go(func() {
		var err error
		for i := range parts {
			if err == nil {
				err = l.part(l.ctx, first+i-1)
			}
			parts[i].err = err
			close(parts[i].done)
		}
		if err != nil {
			l.count(l.total - l.loaded)
			l.progress = nil // should it be read after all
			return
		}
		l.transfer.Close()
	})
}

// wait waits for a layer, or model.Shared. What could not be read before is read
// again: a disk that failed once, or a share that was away, is no reason to fail
// every request from then on. One goroutine waits at a time.
func (l *loading) wait(ctx context.Context, layer int) error {
	l.e.fill.wait(layer)
	p := &l.parts[1+layer]
	select {
	case <-p.done:
		if p.err != nil {
			l.beside.Wait()
			l.readFrom(slices.IndexFunc(l.parts, func(p loadingPart) bool { return p.err != nil }))
		}
	default:
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the loading, whether or not it has come to an end.
func (l *loading) close() {
	if l.cancel != nil {
		l.cancel()
	}
	l.beside.Wait()
	l.transfer.Close()
}
