// Package synth makes OPT checkpoints with drawn weights that have the
// sparsity statistics of trained ones.
package synth
