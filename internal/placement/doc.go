// Package placement turns a budget into what lives where.
//
// A plan is made from the pack's header, the strategy and the machine, before
// anything is loaded. Fast memory is given out in this order:
//
//  1. what every run needs: the process itself, the KV cache, activations, the
//     staging buffers, norms and biases;
//  2. predictors, layer by layer: a byte of a 4-bit sketch saves reading some
//     eight bytes of neurons per token;
//  3. matrices that every token needs in full, those of the head first: a
//     byte resident is a byte a token does not read;
//  4. slots for neurons, the same number in every layer;
//  5. tables of which a token needs one row: reading that is one miss.
//
// Slots that a gpu-cache-ratio asks for come right after step 1.
//
// What does not fit is streamed from the pack, so the smallest budget is that
// of step 1. It depends on the model, the context and the type of the KV cache
// alone. A larger budget never has less of a step before it has more of an
// earlier one: a matrix that newly fits may take the place of slots.
//
// A budget is a share of the model's weight bytes, which covers norms and
// biases, predictors, matrices and slots, or a number of bytes, which covers
// the whole process.
package placement
