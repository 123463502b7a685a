package transfer

import (
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// Options is what a TransferCoordinator is made of.
type Options struct {
	Units  int // of a layer
	Memory Memory
	Policy Policy
	Reader Reader
	// Overlap has a function run while other threads compute, on the goroutine
	// of the coordinator; see device.Backend. Nil: at once.
	Overlap func(func())
}

// Memory is where units are while they are computed.
type Memory struct {
	Cache *cache.WeightCache
	// Slots is the memory of the cache's slots and, after them, of the staging
	// slots, of which there are Staging, at least 2.
	Slots   device.Slots
	Staging int
	// Strides, [layers], is the size of a slot of each layer where units are experts, and
	// StagingStride that of a staging slot. The slots of Slots.Data then follow one another
	// by these, layer by layer.
	Strides       []int64
	StagingStride int64
	// Activations is the most activations of one segment: units x tokens.
	Activations int
	// Reorder moves the units of a complete layer; see cpu.Backend. Nil: they
	// stay as they came.
	Reorder func(s device.Slots, first int, at []int32) device.Slots
}

// Policy is how layers decide what they compute.
type Policy struct {
	// Modes is Predicted, Gate or Dense for each layer while decoding, and
	// Prompts the same for prompts; nil: as while decoding.
	Modes, Prompts []config.Mode
	Predictor      predict.ActivationPredictor
	Selection      predict.Selection
	// Scores is memory for scores, [most tokens, units].
	Scores []float32
}

// Reader is how units are read.
type Reader struct {
	Transfer *disk.AsyncWeightTransfer
	// Places is where each unit lies among its layer's in the pack,
	// [layers][units]; nil: in the order of units.
	Places [][]int32
	// Join reports whether one read of two runs of units and the gap between
	// them is cheaper than two, given their bytes. Nil: only runs without a gap
	// are joined.
	Join func(run, gap, next int64) bool
	// Gaps is memory for what lies in such gaps, page aligned, at least a unit
	// if there is a Join.
	Gaps []byte
}
