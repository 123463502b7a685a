// Package trace records which units, neurons or experts, decoding wanted, and judges
// by it how often a cache would have missed.
//
// # Model
//
// A Trace is, for each layer, the set of neurons that each step of decoding
// wanted: what the predictor asked for, whether or not it was cached. The same
// steps can then be replayed against any policy and any size of cache, without
// the model. A Recorder makes a trace while a model runs; Load reads it.
//
// Replay runs a layer's sets through cache.WeightCache with a policy of package
// cache, as the engine does, token by token. A miss is a wanted neuron without a
// slot when its step begins. Beside the policies stand two bounds: Optimal knows
// the future (Belady's rule, with leave not to cache what was just used), and Static is the best set that never changes, which is what
// knowing every frequency is worth. JudgeFile sets all policies beside each other
// at several sizes of cache.
//
// # File
//
// "SFTRACE3", the Trace as package gob has it, compressed by
// DEFLATE, and the CRC-32C of all before, little-endian.
//
// A routing trace of a mixture of experts may also come as text, as BigMoeOnEdge
// writes it: lines that begin with #, of which one says n_layer=L and n_expert=E; the
// names of columns, phase, step, layer and expert among them, separated by commas; and
// a row for each expert that a layer chose for a token. Rows of phase 1 are of tokens
// that were decoded, and no others count.
//
// # Guarantees
//
//   - A trace appears under its name complete and synced, or not at all.
//   - Any damage gives an error that names the file.
//
// # Caveats
//
// A Recorder keeps whole steps; one that ended in an error is left out. A step
// of a batch has the union of its sequences' sets. A trace of a synthetic model
// has no recency: its tokens are independent draws, which flatters policies that
// count and none that remember.
package trace
