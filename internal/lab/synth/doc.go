// Package synth makes checkpoints of OPTs, and of Llamas whose gates give exact
// zeros, with drawn weights that have the statistics of trained ones which a
// sparse engine lives on, for when real weights are not at hand: which share of a
// layer's neurons is active, how unequal neurons are, how well they can be
// predicted, and how little a layer changes its input. Random weights have none of
// them.
//
// # Construction
//
// U is a random basis of d/32 directions. The residual stream varies kappa =
// 2.44 times as much along U as on average; so that no layer dilutes that,
// everything that is added to the stream (embeddings, attention's output, second
// halves of neurons) is drawn with that covariance. First halves of neurons lie
// to beta = 0.667 in U. Hence a predictor of the basis's rank explains
// beta kappa/(beta kappa + 1 - beta) = 0.83 of the variance of pre-activations,
// and a sketch of 1 bit about as much.
//
// How often a neuron is active falls with its rank as min(0.98, c rank^-s), with
// c and s for the layer's mean share (by depth) and for the skew: OPT's is that
// a quarter of the neurons gives 80 % of the activations. Its bias is set
// for that from the mean and deviation of its pre-activation over calibration
// tokens, which go through the model layer by layer as it is drawn; a margin
// common to the layer makes the mean exact. In gated neurons all this is true of the
// gate. Their second parts know no basis.
//
// What a sublayer adds is 0.12 of the residual stream's size and zero on
// average. Tokens are drawn by Zipf's law (Tokens): reuse between tokens comes
// from skew alone.
//
// # Mixtures of experts
//
// What counts is which experts tokens want. u, a direction of 32 coordinates, is the
// same in every token, since nothing writes there. A router's row is the log
// popularity of its expert along u, exp(-rank/tau) with tau = 0.10 of the experts (0.2
// in the first layer, 0.08 in the deepest third) and ranks in random order, plus a
// random part, which makes of a token's own part about a draw by popularity. Attention
// averages the last 2 or 16 tokens, so that neighbours want similar experts; layers add
// little to the stream, so that one layer's input tells of the next one's. On recorded
// routes of Qwen3-30B and others entropy, hottest share, overlap and reuse are like
// that (Helldez, BigMoeOnEdge, 2026). The blocks of weights are drawn as they are
// stored.
//
// # Guarantees
//
//   - The same options give the same bytes, whatever the number of threads and
//     whether a directory or a pack is made: each row has random numbers of its
//     own, and calibration computes with kernels that have one order of sums.
//   - One layer is in memory at a time (OPT-6.7B: 1 GB in all).
//   - The output appears under its name complete and synced, or not at all.
//   - Everything made says that it is synthetic: config.json, the metadata of
//     its weight files, and the profile in a pack.
//
// # Caveats
//
// Text and perplexity of such a model mean nothing. The head is tied to the
// embeddings and echoes its input: measure on fixed tokens. Where math functions
// round differently (another architecture), bytes may differ too.
package synth
