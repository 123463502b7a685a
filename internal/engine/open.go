package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// Options is how a model is opened.
type Options struct {
	Strategy config.OffloadStrategy
	// Predictor replaces the one that the strategy names.
	Predictor predict.ActivationPredictor
	// Multiple is how many neurons are computed for each that the predictor
	// scores above zero; 0: 1, or for the sketch 2.
	Multiple float64
	// Calibration, if not nil, is what is known of the model's sketch.
	Calibration *predict.Calibration
	// Counts, if not nil, is how often each neuron was active on some text: the
	// cache begins with the hottest, the policy knows them, and layers get slots
	// by what they gain.
	Counts *cache.Counts
	// Unprofiled keeps the counts that a profile left from being looked for: the
	// first neurons are those that stay, and layers have the same slots.
	Unprofiled bool
	// LowRank, [layers], is the trained factors of the layers that the
	// calibration wants predicted by them.
	LowRank []lowrank.Layer
	// Notify, if not nil, is told in whole sentences what happens to a model
	// while it runs. It is called by one goroutine and must not block.
	Notify func(string)
	// Policy makes each layer's eviction policy in place of the one that the
	// strategy names.
	Policy cache.NewPolicy
	// Kernels is what the cpu backend computes with; nil: the best there are.
	Kernels *kernel.Set
	// File, if not nil, is the pack's file as the store reads it. Where it is
	// a *disk.Mapping, what is resident is the mapping itself: the system
	// decides what of it is in memory, and no budget holds.
	File disk.File
	// OpenFile, if not nil, opens the pack's file in place of the strategy's way,
	// and Disk is what that file's disk does; zero: what disks are taken to do.
	OpenFile func(*pack.Pack) (disk.File, error)
	Disk     disk.DiskSpeed
	// RingSlots, if not 0, is the staging slots, beyond the budget; see
	// placement.Input.
	RingSlots int
	// Observe, if not nil, sees every neuron that is computed; see
	// model.ExecutionContext.
	Observe func(layer, tokens int, w device.Work, h []float32)
	// ObserveInput, if not nil, sees every layer's input and the forecast of
	// it; see model.ExecutionContext.
	ObserveInput func(layer int, ahead, exact device.Act)
	// Wanted, if not nil, sees which neurons each layer of each step of decoding
	// is to compute, ascending, cached or not: what a trace records. It must not
	// keep ids.
	Wanted func(layer int, ids []int32)
	// Reads, if not nil, sees which weights each operation reads from memory. It
	// must not keep a Read's Slots.
	Reads func(Read)
	// Planned, if not nil, is told what will live where before anything is
	// loaded.
	Planned func(*placement.Placement)
	// Progress, if not nil, is told of bytes loaded out of a total.
	Progress func(done, total int64)
	// Early has Open return before everything is loaded, where that is possible:
	// the first step then waits, layer by layer, for what it needs. What fails to
	// load is an error of the request that waits for it, and is read again for
	// the next one. Progress is told by another goroutine, the last time with done
	// equal to total, when all is there or something failed.
	Early bool
	// Fill has slots that nothing fills yet filled in the background.
	Fill bool
}

// ioWorkers is how many reads run at a time where the file has no queue. A few are what a disk needs to
// be kept busy with reads of some ten kilobytes; each costs a thread.
const ioWorkers = 8

// Plan places a pack, which need not exist yet, without loading anything. A
// *placement.BudgetError comes with the placement.
func Plan(p *pack.Layout, o Options) (*placement.Placement, error) {
	profile := p.Profile()
	if _, err := policyOf(o, profile.FFN); err != nil {
		return nil, err
	}
	bytes, heap, err := predictorBytes(p, o)
	if err != nil {
		return nil, err
	}
	place, err := placement.Plan(placement.Input{
		Layout:             p,
		Strategy:           o.Strategy,
		Modes:              modesOf(p, o),
		PredictorBytes:     bytes,
		PredictorHeapBytes: heap,
		Layers:             layers(profile, o),
		Counts:             o.Counts,
		ScratchBytes: func(chunk int) int64 {
			return model.ScratchBytes(profile, chunk) + recordBytes(p, chunk) + tileBytes(profile, o.Strategy, chunk)
		},
		FreeBytes:  placement.FreeBytes(os.DirFS("/")),
		Processors: processors(),
		RingSlots:  o.RingSlots,
	})
	if place != nil && place.Auto {
		place.Chosen = choiceOf(place).Summary()
	}
	if place != nil && profile.Synthetic {
		place.Notices = append(place.Notices, syntheticNotice)
	}
	if c := o.Calibration; place != nil && c != nil && c.DType != "" && c.DType != p.MLPDType().String() && place.Mode == config.Predicted {
		place.Notices = append(place.Notices, fmt.Sprintf("the predictor was calibrated on %s weights, these are %s: what is said of quality is of those; sparseflow train learns about these", c.DType, p.MLPDType()))
	}
	return place, err
}

// recordBytes is what the backend needs to multiply chunk tokens with quantised
// weights.
func recordBytes(p *pack.Layout, chunk int) int64 {
	cols := max(p.Profile().HiddenSize, p.Profile().EmbedDim)
	return max(cpu.RecordBytes(p.AttnDType(), chunk, cols), cpu.RecordBytes(p.MLPDType(), chunk, cols))
}

// processors is the number of compute threads where none is asked for.
func processors() int { return placement.Processors(os.DirFS("/"), runtime.NumCPU()) }

// tileBytes is what the backend needs to compute chunk tokens together.
func tileBytes(p config.ModelProfile, s config.OffloadStrategy, chunk int) int64 {
	threads := s.Threads
	if threads == 0 {
		threads = processors()
	}
	return cpu.TileBytes(threads, max(p.HiddenSize, p.EmbedDim), chunk, model.HiddenSize(p, chunk))
}

// syntheticNotice is what everybody who runs drawn weights is told.
const syntheticNotice = "the weights are synthetic: drawn, not trained; speed and sparsity mean something, text and perplexity nothing"

// layers is what is known of the neurons that each layer computes.
func layers(p config.ModelProfile, o Options) []placement.Layer {
	all := make([]placement.Layer, p.Layers)
	shares := placement.PublishedShares(p.Layers, placement.PublishedActive)
	var point predict.Point
	c := o.calibrated()
	if c != nil {
		point, _ = c.Choose(quality(o.Strategy))
		shares = placement.PublishedShares(p.Layers, point.Active)
	}
	for l := range all {
		if o.Counts != nil {
			shares[l] = o.Counts.Active(l)
		}
		computed := predict.SilentMultiple * shares[l]
		switch {
		case o.Predictor != nil || o.Strategy.Predictor == "oracle":
			computed = shares[l]
		case o.Strategy.Predictor == "all":
			computed = 1
		case c != nil:
			computed = shares[l] * point.Computed / point.Active
		}
		all[l] = placement.Layer{Active: shares[l], Computed: min(1, computed)}
	}
	return all
}

// quality is the largest relative rise of perplexity that s allows.
func quality(s config.OffloadStrategy) float64 {
	if s.Quality == 0 {
		return defaultQuality
	}
	return s.Quality
}

// Predictors are the names that a strategy can give.
func Predictors() []string { return []string{"sketch", "lowrank", "oracle", "all"} }

// predictorBytes is the memory of each layer's predictor, and what of it is on
// the heap, where the sidecar was read to: factors, and codes of a layer's own.
func predictorBytes(p *pack.Layout, o Options) (all, heap func(layer int) int64, err error) {
	profile := p.Profile()
	rows := memory.PieceBytes(4 * int64(profile.FFN)) // a float32 for each neuron
	if c := o.Calibration; c != nil {
		for l := range c.Layers {
			if c.Layers[l].Kind == predict.KindLowRank && (l >= len(o.LowRank) || o.LowRank[l].Empty()) {
				return nil, nil, fmt.Errorf("engine: predictor: layer %d: got a calibration of trained factors and no factors, want both: train again", l)
			}
		}
	}
	switch name := o.Strategy.Predictor; {
	case o.Predictor != nil || name == "all":
		return nil, nil, nil
	case name == "lowrank" && !slices.ContainsFunc(o.LowRank, func(l lowrank.Layer) bool { return !l.Empty() }):
		return nil, nil, errors.New("engine: predictor: got lowrank and no trained factors, want some: run train --predictor lowrank first")
	case name == "" || name == "sketch" || name == "lowrank":
		codes := memory.PieceBytes(int64(profile.FFN) * int64(pack.SketchBytes(profile.HiddenSize)))
		if o.Calibration == nil {
			return func(int) int64 { return codes + rows }, nil, nil
		}
		heap = func(layer int) int64 {
			if c := &o.Calibration.Layers[layer]; c.Kind != predict.KindLowRank {
				return placement.OnHeap(int64(len(c.Codes.Rows)))
			}
			return placement.OnHeap(o.LowRank[layer].Bytes())
		}
		return func(layer int) int64 {
			switch c := &o.Calibration.Layers[layer]; {
			case c.Kind == predict.KindLowRank:
				return heap(layer) + rows
			case c.Codes.Bits > 0:
				return heap(layer) + 2*rows
			}
			return codes + 2*rows
		}, heap, nil
	case name == "oracle":
		n := memory.PieceBytes(int64(profile.FFN) * p.MLPDType().RowBytes(profile.HiddenSize))
		return func(int) int64 { return n }, nil, nil
	default:
		return nil, nil, fmt.Errorf("engine: predictor: got %q, want one of %s", name, strings.Join(Predictors(), ", "))
	}
}

// policyOf is the eviction policy for layers of ffn neurons.
func policyOf(o Options, ffn int) (cache.NewPolicy, error) {
	name := o.Strategy.Policy
	switch {
	case o.Policy != nil:
		return o.Policy, nil
	case name != "":
	case o.Strategy.UseLRUEviction:
		name = cache.DefaultPolicy
	default:
		name = "frozen"
	}
	return cache.PolicyByName(name, ffn, o.Counts)
}

// Open places and loads the model of p, which it closes together with the
// engine or on an error.
func Open(ctx context.Context, p *pack.Pack, o Options) (*Engine, error) {
	place, err := Plan(p.Layout, o)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	e := &Engine{pack: p, place: place, profile: p.Profile(), drift: newDrift(p.Profile().Layers), notify: o.Notify}
	if err := e.open(ctx, o); err != nil {
		return nil, errors.Join(err, e.free())
	}
	e.start()
	return e, nil
}

func (e *Engine) open(ctx context.Context, o Options) (err error) {
	if e.place.Mode != config.Predicted {
		// The heap has no room for predictors that are not used.
		o.Calibration, o.LowRank = nil, nil
	}
	if o.Planned != nil {
		o.Planned(e.place)
	}
	f := o.File
	if f == nil {
		if f, err = openFile(e.pack, o); err != nil {
			return err
		}
	}
	if e.store, err = disk.NewDiskWeightStore(e.pack, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if e.memory, err = memory.New(e.place.MemoryBytes); err != nil {
		return err
	}
	k := kernel.Best()
	if o.Kernels != nil {
		k = *o.Kernels
	}
	e.backend = &meter{Backend: cpu.New(k, e.place.Threads), reads: o.Reads}
	e.transfer = e.newTransfer(o)
	e.ec = model.NewExecutionContext(e.profile, e.place.Chunk, e.memory)
	if err := e.build(ctx, o); err != nil {
		return err
	}
	load := e.loading
	load.warm()
	e.ec.Observe, e.ec.ObserveInput = o.Observe, o.ObserveInput
	if _, mapped := o.File.(*disk.Mapping); o.Fill && !mapped {
		e.fill = e.newFiller(o)
		e.model.Loaded = func(_ context.Context, layer int) error {
			e.fill.wait(layer)
			return nil
		}
	}
	if o.Early && e.transfer.Async() && e.place.Streamed == 0 {
		load.start()
		return nil
	}
	defer load.transfer.Close()
	return load.read(ctx)
}

// newTransfer is a transfer in the way that o asks for.
func (e *Engine) newTransfer(o Options) *disk.AsyncWeightTransfer {
	workers := 0
	if o.Strategy.AsyncTransfer {
		workers = ioWorkers
	}
	return disk.NewAsyncWeightTransfer(e.store, workers)
}

// openFile is the pack's file in the way that o asks for.
func openFile(p *pack.Pack, o Options) (disk.File, error) {
	if o.OpenFile != nil {
		return o.OpenFile(p)
	}
	return disk.OpenFile(p, o.Strategy.IO)
}

// diskSpeed is what the disk is taken to do.
func diskSpeed(o Options) disk.DiskSpeed {
	if o.Disk != (disk.DiskSpeed{}) {
		return o.Disk
	}
	return disk.AssumedDisk()
}

// build finds room for what is resident and makes the model, which can run once
// that has been loaded.
func (e *Engine) build(ctx context.Context, o Options) error {
	mem, place := e.memory, e.place
	shape := kv.Shape{Layers: e.profile.Layers, Heads: e.profile.KVHeads, HeadDim: e.profile.HeadDim(), DType: o.Strategy.KV}
	e.kv = kv.New(shape, mem.Piece(place.KVBytes))
	e.pages = kv.Pages(place.Context)
	row := mem.Buffer(place.BlockBytes)
	stream := make([][]byte, disk.StreamBuffers)
	for i := range stream {
		stream[i] = mem.Buffer(place.BlockBytes)
	}
	gaps := mem.Buffer(disk.GapBytes(e.pack.BundleStride()))
	slots, ringFirst := e.slots()
	e.loading = e.newLoading(o, stream)
	loader := &e.loading.loader
	separate := e.backend.SplitParts
	mapping, mapped := o.File.(*disk.Mapping)
	if mapped {
		loader.Mapped = mapping.Data
		slots.Data = mapping.Data[e.pack.BundleOffset(0, 0):]
		separate = nil
	}
	w, err := loader.Weights()
	if err != nil {
		return err
	}
	predictor, multiple, err := e.predictor(ctx, o, loader, w, slots, ringFirst)
	if err != nil {
		return err
	}
	policy, err := policyOf(o, e.profile.FFN)
	if err != nil {
		return err
	}
	if !mapped {
		e.prepare(slots)
	}
	e.cache = cache.NewWeightCache(e.profile.FFN, place.Slots, policy)
	modes := make([]config.Mode, e.profile.Layers)
	for l := range modes {
		if modes[l] = place.Mode; place.Mode == config.Predicted && !place.Predicted[l] {
			modes[l] = config.Gate
		}
	}
	e.coordinator = transfer.NewTransferCoordinator(transfer.Options{
		Units:   e.profile.FFN,
		Overlap: e.backend.Overlap,
		Memory: transfer.Memory{
			Cache:       e.cache,
			Slots:       slots,
			Staging:     place.RingSlots,
			Activations: e.ec.Hidden(),
			Reorder:     separate,
		},
		Policy: transfer.Policy{
			Modes:     modes,
			Predictor: predictor,
			Selection: predict.Selection{Multiple: multiple},
			Scores:    e.ec.Scores(),
		},
		Reader: transfer.Reader{
			Transfer: e.transfer,
			Places:   e.store.Places(),
			Join:     diskSpeed(o).Joins,
			Gaps:     gaps,
		},
	})
	e.model = model.New(model.Parts{
		Profile:     e.profile,
		Weights:     w,
		Backend:     e.backend,
		KV:          e.kv,
		Coordinator: e.coordinator,
		Store:       e.store,
		Stream:      disk.NewBlockReader(e.transfer, stream), // once the loader is done with the memory
		RowBuffer:   row,
	})
	e.wanted = o.Wanted
	return nil
}

// slots takes the memory of all slots, the ring's last.
func (e *Engine) slots() (s device.Slots, ringFirst int) {
	for _, n := range e.place.Slots {
		ringFirst += n
	}
	stride := e.pack.BundleStride()
	return device.Slots{
		Data:   e.memory.Buffer(int64(ringFirst+e.place.RingSlots) * stride),
		Stride: stride,
		DType:  e.pack.MLPDType(),
		Cols:   e.profile.HiddenSize,
		Parts:  e.profile.NeuronParts,
	}, ringFirst
}

// predictor loads the predictor and says how many neurons to compute for each
// that it scores above zero.
func (e *Engine) predictor(ctx context.Context, o Options, l *model.Loader, w *model.Weights, slots device.Slots, ring int) (predict.ActivationPredictor, float64, error) {
	switch {
	case e.place.Mode != config.Predicted:
		return predict.All{}, 1, nil
	case o.Predictor != nil:
		return o.Predictor, max(o.Multiple, 1), nil
	case o.Strategy.Predictor == "all":
		return predict.All{}, 1, nil
	case o.Strategy.Predictor == "oracle":
		p := &predict.Oracle{Backend: e.backend, Layers: make([]device.Mat, e.profile.Layers), Bias: make([][]float32, e.profile.Layers)}
		staging := slots
		staging.Data = slots.Data[int64(ring)*slots.Stride:]
		for i, here := range e.place.Predicted {
			if !here {
				continue
			}
			m, err := l.Up(ctx, i, staging) // now, through memory that the first step uses
			if err != nil {
				return nil, 0, err
			}
			p.Layers[i], p.Bias[i] = m, w.Layers[i].UpBias
		}
		return p, 1, nil
	}
	return e.sketch(o, l, w)
}

// defaultQuality is the largest relative change of perplexity that a
// calibrated sketch may cost if nothing else is asked for.
const defaultQuality = 0.005
