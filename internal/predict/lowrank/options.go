package lowrank

import (
	"fmt"
	"math"
)

// Options steer training and measurement. Take DefaultOptions and change what
// you need; every field is checked, and zero means zero but for Threads.
type Options struct {
	Seed    uint64 // of the order of tokens and of the SVD's start
	Threads int    // 0: as many as there are processors
	Batch   int    // tokens in a step
	Epochs  int    // most passes over the training data
	// Patience is how many epochs in a row may fail to raise the held-out
	// weighted recall before training ends.
	Patience int
	// LearningRate is AdamW's step at its height, as a share of the root mean
	// square of the matrix that is moved, so that it suits any scale of inputs.
	LearningRate float64
	// WeightDecay is AdamW's: after each step A and B shrink by
	// WeightDecay times that step's share of LearningRate.
	WeightDecay float64
	// Negative is the loss's weight of a silent neuron; an active one of mean
	// activation weighs 1. Below 1 it leans towards the looser bar of a
	// Multiple above 1.
	Negative float64
	// Multiple is the computed share at which recall is measured, as a
	// multiple of the active share.
	Multiple float64
}

// DefaultOptions are good for layers of a few hundred to a few thousand
// dimensions and ten thousand tokens or more.
func DefaultOptions() Options {
	return Options{
		Seed: 1, Batch: 256, Epochs: 12, Patience: 3,
		LearningRate: 0.02, WeightDecay: 0.01, Negative: 0.5, Multiple: 1.3,
	}
}

func (o Options) validate(action string) error {
	for _, f := range []struct {
		name     string
		got      float64
		min, max float64
	}{
		{"Threads", float64(o.Threads), 0, 1 << 12},
		{"Batch", float64(o.Batch), 1, 1 << 16},
		{"Epochs", float64(o.Epochs), 1, 1 << 20},
		{"Patience", float64(o.Patience), 1, 1 << 20},
		{"LearningRate", o.LearningRate, math.SmallestNonzeroFloat64, 1},
		{"WeightDecay", o.WeightDecay, 0, 1},
		{"Negative", o.Negative, 1e-3, 1e3},
		{"Multiple", o.Multiple, 1e-3, 1e6},
	} {
		if !(f.got >= f.min && f.got <= f.max) {
			return fmt.Errorf("lowrank: %s: option %s: got %v, want %v to %v", action, f.name, f.got, f.min, f.max)
		}
	}
	return nil
}
