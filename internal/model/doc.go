// Package model is the forward pass of a decoder-only transformer whose MLP
// is sparse.
//
// Three kinds of things make it up, kept apart:
//
//   - Weights: what the pack holds, resident or streamed, read once.
//   - ExecutionContext: the activations of the tokens being computed, and the
//     counters of what that took. Nothing about a run is kept elsewhere.
//   - Model: the layers, which read from top to bottom: SparseAttentionLayer
//     starts the reads of its layer's MLP and computes attention meanwhile;
//     SparseMLPLayer computes the neurons that the exact input asks for, and
//     DenseMLPLayer all of an MLP whose activations have no exact zeros.
//
// One description drives all families: config.ModelProfile says where norms
// are, which activation, whether there are biases, which layers see a window.
// Package arch maps a family's files to it.
//
// The result of a token depends on the weights and the tokens before it, and
// on the set of neurons computed; never on how many tokens are computed
// together, on threads, on what was cached or on the order of arrival.
package model
