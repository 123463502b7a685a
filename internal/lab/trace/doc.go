// Package trace records which neurons decoding wanted, and judges by it how
// often a cache would have missed.
//
// # Model
//
// A Trace is, for each layer, the set of neurons that each step of decoding
// wanted: what the predictor asked for, whether or not it was cached. The same
// steps can then be replayed against any policy and any size of cache, without
// the model. A Recorder writes a trace while a model runs, step by step; Load
// reads it.
//
// Replay runs a layer's sets through cache.WeightCache with a policy of package
// cache, as the engine does, token by token. A miss is a wanted
// neuron without a slot when its step begins. Beside the policies stand two
// bounds: Optimal knows the future (Belady's rule, with leave not to cache what
// was just used), and Static is the best set that never changes, which is what
// knowing every frequency is worth. JudgeFile sets all policies beside each other
// at several sizes of cache.
//
// # File
//
//	"SFTRACE\n"                     magic
//	uvarint version                 1
//	uvarint n, n bytes              Info, in JSON
//	for each step:
//	  byte 1
//	  for each layer: uvarint n, then n ids as uvarints, the first as it is, the
//	  others as their distance to the one before, less one
//	byte 0, uvarint steps, uint32 CRC-32C of all before, little-endian
//
// Neighbours are seldom far apart, so an id takes little more than a byte: a
// token of OPT-6.7B some 30 kB.
//
// # Guarantees
//
//   - A trace appears under its name complete and synced, or not at all.
//   - Any damage gives an error that names the file. Nothing is allocated by a
//     size in the header: a trace in memory takes some eight times its file at most.
//
// # Caveats
//
// A Recorder keeps whole steps; one that ended in an error is left out. A step
// of a batch has the union of its sequences' sets. A trace of a synthetic model
// has no recency: its tokens are independent draws, which flatters policies that
// count and none that remember.
package trace
