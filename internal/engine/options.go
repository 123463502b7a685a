package engine

import (
	"cmp"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
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
	// Counts, if not nil, is how often each neuron was active on some text, or each
	// expert wanted: the cache begins with the hottest, the policy knows them, and
	// layers get slots for neurons by what they gain.
	Counts *cache.Counts
	// Active, [layers], is the share of the neurons that is active at a token, where
	// it was measured and there are no Counts. Plans alone depend on it.
	Active []float64
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
	// File, if not nil, is the pack's file as the store reads it.
	File disk.File
	// OpenFile, if not nil, opens the pack's file in place of the strategy's way,
	// and Disk is what that file's disk does; zero: what disks are taken to do.
	OpenFile func(*pack.Pack) (disk.File, error)
	Disk     disk.DiskSpeed
	// RingSlots, if not 0, is the staging slots, beyond the budget; see
	// placement.Input.
	RingSlots int
	// KeepText uses what was computed of the text before where the next goes on
	// from it. Whoever observes or times what is computed leaves it out.
	KeepText bool
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
	// Used, if not nil, is told when the engine closes how often each expert was wanted
	// by what was decoded, if anything was.
	Used func(*cache.Counts)
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

// defaultQuality is the largest relative change of perplexity that a
// calibrated sketch may cost if nothing else is asked for.
const defaultQuality = 0.005

// quality is the largest relative rise of perplexity that o allows.
func (o Options) quality() float64 { return cmp.Or(o.Strategy.Quality, defaultQuality) }

// ownPredictor reports whether something other than the model's sidecar says
// which neurons are computed.
func (o Options) ownPredictor() bool {
	return o.Predictor != nil || o.Strategy.Predictor == "oracle" || o.Strategy.Predictor == "all"
}

// calibrated is the calibration that predictors follow, nil if none does.
func (o Options) calibrated() *predict.Calibration {
	if o.ownPredictor() {
		return nil
	}
	return o.Calibration
}

// policy is the eviction policy for layers of ffn neurons.
func (o Options) policy(ffn int) (cache.NewPolicy, error) {
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

// file is the file of a pack.
func (o Options) file(p *pack.Pack) (disk.File, error) {
	switch {
	case o.File != nil:
		return o.File, nil
	case o.OpenFile != nil:
		return o.OpenFile(p)
	}
	return disk.OpenFile(p, o.Strategy.IO)
}

// ioWorkers is how many reads run at a time where the file has no queue. A few are
// what a disk needs to be kept busy with reads of some ten kilobytes; each costs a
// thread.
const ioWorkers = 8

// transfer reads from a store in the way that o asks for.
func (o Options) transfer(s *disk.DiskWeightStore) *disk.AsyncWeightTransfer {
	workers := 0
	if o.Strategy.AsyncTransfer {
		workers = ioWorkers
	}
	return disk.NewAsyncWeightTransfer(s, workers)
}

// diskSpeed is what the disk is taken to do.
func (o Options) diskSpeed() disk.DiskSpeed {
	return cmp.Or(o.Disk, disk.AssumedDisk())
}

// backend is what computes.
func (o Options) backend(threads int) *cpu.Backend {
	k := kernel.Best()
	if o.Kernels != nil {
		k = *o.Kernels
	}
	if o.Strategy.Activations == config.F32Activations {
		return cpu.New(k, threads, cpu.F32Activations)
	}
	return cpu.New(k, threads)
}
