package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// loading is what is read before the model can run, layer after layer: what is
// resident, and the neurons that slots begin with. Where a model is opened early, a
// first step need not wait for the last layers to begin with the first.
type loading struct {
	loader     model.Loader
	transfer   *disk.AsyncWeightTransfer // of its own, so that no request is taken to have read this
	layers     int
	hot        [][]int32               // [layers] units
	experts    bool                    // which these are
	warming    []*transfer.Preload     // [layers], of hot
	progress   func(done, total int64) // may be nil
	doneBytes  int64
	totalBytes int64

	// Of start.
	ctx    context.Context // until close
	cancel context.CancelFunc
	parts  []loadingPart // model.Shared, then the layers
	reader sync.WaitGroup
	waited time.Duration // what wait took in all
}

// loadingPart is how far a layer has come.
type loadingPart struct {
	done chan struct{} // closed when it is there, or will not come
	err  error         // once done
}

// newLoading loads nothing yet; stream is memory for blocks on their way.
func newLoading(o Options, place *placement.Placement, store *disk.DiskWeightStore, mem *memory.Memory, stream [][]byte) *loading {
	l := &loading{transfer: o.transfer(store), layers: len(place.Slots), hot: hottest(store.Pack().Profile(), place, o), progress: o.Progress, totalBytes: place.LoadBytes}
	l.experts = store.Pack().Profile().Experts() > 0
	l.loader = model.Loader{Store: store, Memory: mem, Resident: place.Resident, Progress: l.count,
		Stream: disk.NewBlockReader(l.transfer, stream)}
	for layer, ids := range l.hot {
		l.totalBytes += int64(len(ids)) * place.SlotBytes[layer]
	}
	return l
}

// count tells of n more bytes.
func (l *loading) count(n int64) {
	if l.doneBytes += n; l.progress != nil {
		l.progress(l.doneBytes, l.totalBytes)
	}
}

// preloadTokens is how many tokens of a prompt would want, at least once, what
// is loaded before there is one. Units seldomer than that come when they are
// wanted: loading a whole large cache first would only put off the first token.
// An expert is large, so that of those loaded most are to be wanted at once.
const (
	preloadTokens       = 12
	preloadExpertTokens = 4
)

// hottest is the units of each layer that are loaded before there is a prompt,
// the hottest first: as many as counts say will be wanted, and have slots.
// Where every neuron is computed none is hotter than another.
func hottest(p config.ModelProfile, place *placement.Placement, o Options) [][]int32 {
	hot := make([][]int32, len(place.Slots))
	if o.Counts == nil {
		return hot
	}
	tokens := preloadTokens
	if p.Experts() > 0 {
		tokens = preloadExpertTokens
	}
	for l, slots := range place.Slots {
		if !place.Predicted[l] && p.Experts() == 0 {
			continue
		}
		ids, counts := o.Counts.Hottest(l), o.Counts.Neurons[l]
		n := 0
		for n < slots && int(counts[ids[n]])*tokens >= max(o.Counts.Tokens, 1) {
			n++
		}
		hot[l] = ids[:n]
	}
	return hot
}

// preparedSlots is how many slots of a layer of experts are made ready before the next
// layer's: what a short prompt wants.
const preparedSlots = 32

// prepare has the memory made ready that is about to be written, in the order in
// which it will be: of each layer its matrices and predictor, and its first slots,
// for hot neurons; all slots where the first tokens fill them.
func (l *loading) prepare(place *placement.Placement, slots device.Slots) {
	parts, later := l.loader.Room(model.Shared), [][]byte{}
	for layer, n := range place.Slots {
		stride := place.SlotBytes[layer]
		of := slots.Data[:int64(n)*stride]
		slots.Data = slots.Data[len(of):]
		switch {
		case l.experts:
			first := min(int64(preparedSlots)*stride, int64(len(of)))
			of, later = of[:first], append(later, of[first:])
		case place.Predicted[layer]:
			of = of[:int64(len(l.hot[layer]))*stride]
		}
		parts = append(append(parts, l.loader.Room(layer)...), of)
	}
	l.loader.Memory.Prepare(append(parts, later...)...)
}

// warm has hot neurons loaded too.
func (l *loading) warm(c *transfer.TransferCoordinator) {
	for layer, ids := range l.hot {
		l.warming = append(l.warming, c.Preload(layer, ids))
	}
}

// read reads everything.
func (l *loading) read(ctx context.Context) error {
	defer l.transfer.Close()
	for layer := model.Shared; layer < l.layers; layer++ {
		if err := l.part(ctx, layer); err != nil {
			return err
		}
	}
	return nil
}

// part reads what is still to be read of a layer, or of model.Shared.
func (l *loading) part(ctx context.Context, layer int) error {
	if layer == model.Shared {
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
	if layer == l.layers-1 {
		l.count(l.totalBytes - l.doneBytes) // predictors that were read before
	}
	return ctx.Err()
}

// start reads in the background of the first steps, which wait.
func (l *loading) start() {
	l.parts = make([]loadingPart, 1+l.layers)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.readFrom(0)
}

// readFrom reads the parts from first on in the background of what waits for them.
// After an error there is no more to come.
func (l *loading) readFrom(first int) {
	parts := l.parts[first:]
	for i := range parts {
		parts[i] = loadingPart{done: make(chan struct{})}
	}
	l.reader.Go(func() {
		var err error
		for i := range parts {
			if err == nil {
				err = l.part(l.ctx, first+i-1)
			}
			parts[i].err = err
			close(parts[i].done)
		}
		if err != nil {
			l.count(l.totalBytes - l.doneBytes)
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
	if l.parts == nil {
		return nil
	}
	begin := time.Now()
	defer func() { l.waited += time.Since(begin) }()
	p := &l.parts[1+layer]
	if p.there() && p.err != nil {
		l.reader.Wait()
		l.readFrom(slices.IndexFunc(l.parts, func(p loadingPart) bool { return p.err != nil }))
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ready reports whether a layer is there.
func (l *loading) ready(layer int) bool {
	if l.parts == nil {
		return true
	}
	p := &l.parts[1+layer]
	return p.there() && p.err == nil
}

// there reports whether nothing more is to come.
func (p *loadingPart) there() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// complete reports whether all that is read at the start is there.
func (l *loading) complete() bool {
	for i := range l.parts {
		if p := &l.parts[i]; !p.there() || p.err != nil {
			return false
		}
	}
	return true
}

// close ends the loading, whether or not it has come to an end.
func (l *loading) close() {
	if l == nil {
		return
	}
	if l.cancel != nil {
		l.cancel()
	}
	l.reader.Wait()
	l.transfer.Close()
}
