// Package lowrank is the trained predictor of active neurons in the shape of
// Deja Vu (Liu et al., "Deja Vu: Contextual Sparsity for Efficient LLMs at
// Inference Time", 2023): scores = B (A x) + b with A [rank, d], B [ffn, rank]
// and b [ffn]. It costs rank (d + ffn) products a token where fc1 costs
// d ffn.
//
// # Use
//
// Collect what a layer's neurons did into [Data], some for training and some
// held out. [Start] makes factors from fc1 in closed form, [Train] improves
// them, [ChooseRank] does both for the smallest rank that meets a target, and
// [Measure] says how good factors are. [Factors.Encode] and [Decode] carry
// them to and from storage, and [NewPredictor] runs them on a backend. All
// data are in memory; the package knows no files and no models.
//
// # Method
//
// Pre-activations are linear in the input, so that without any training the
// best factors for their squared error follow from fc1 and the inputs'
// covariance (see Start). The covariance matters: inputs of real layers lie
// near few directions. The squared error, though, cares as much for how
// silent a neuron is as for whether it fires; training moves the rank to
// where decisions fall, by cross-entropy weighted by |activation| (see
// Train). On the layers of the embedded model (d 256, ffn 1024, 3 to 5 %
// active, 16384 tokens of training text, another text held out, rank 64, 12
// epochs) the recall weighted by |activation| at 1.3 times the active share:
//
//	layer   SVD of fc1   start   trained
//	0           .535      .937      .964
//	2           .369      .879      .931
//	3           .505      .854      .904
//	4           .519      .840      .889
//	5           .564      .848      .887
//
// Layer 1 hardly fires (one neuron in 80000); there the start is kept. Rank
// 128 gives layer 2 .987.
//
// # Guarantees
//
// The same data, options and kernels' results give the same factors, bit for
// bit, whatever the number of threads: threads split outputs, never sums.
// Training never returns worse than its start on the held-out data, but for
// the rounding that storage asks. Data with infinity or NaN are
// refused where they are added, and stored factors are checked in full.
//
// # Caveats
//
// Held-out data choose the epoch and the rank, so that the quality reported
// on them flatters a little; measure on a third text to publish. Scores of
// Start estimate pre-activations; those of Train are log-odds. Dense scores
// of one batch are held in memory twice, batch x ffn x 8 bytes, beside some
// ten times the factors.
//
// # Speed
//
// Products run on the dot products of package kernel, along k for both
// operands, after transposing what lies across: on one core of an EPYC 9004
// with AVX-512 30 to 65 GFLOP/s at k from 256 on and 10 to 20 at k 64
// (BenchmarkMulT). One layer of d 256, ffn 1024 and 16384 tokens takes, start
// and 12 epochs, 7 to 12 processor seconds at ranks 32 to 128 (BenchmarkTrain,
// both cores shared with other work): 7 s of wall clock.
// On machines without assembly kernels training works, slowly: the
// plain-Go kernels round each fused multiply-add in software.
package lowrank
