// Package transfer decides which units a layer computes and gets them into
// fast memory in time. A unit is what is cached, read and computed as one:
// here, a neuron.
//
// A model talks to the TransferCoordinator twice for each layer. Prefetch,
// before attention, takes a forecast of the MLP's input and starts reads that
// will likely be needed. Fetch, after attention, takes the exact input, which
// alone decides what is computed, and returns Work: the wanted units, in
// segments each of which fits in fast memory at once. The model computes the
// units of a segment that are there while the others arrive.
//
// Three parts, which are tested alone, do this:
//
//   - The forecaster decides which reads start early, and stops guessing in
//     layers where that does not pay.
//   - The planner turns what is wanted and what is in the cache into a
//     NeuronTransferPlan, and units that are to be read into reads. It has no
//     state and touches nothing.
//   - The fetcher carries plans out: it owns the reads under way, and pins and
//     releases slots.
//
// While a token is decoded, misses go to slots of the cache. They go through
// staging slots where the cache may not change (a prompt must not evict what
// decoding needs) or is too small (all neurons of a layer, under a budget that
// holds some). One half of the staging slots is filled while the units in the
// other are computed.
//
// Chores run while other threads compute, where they can: picking what a
// forecast asks for, making room for misses, submitting reads, checking what
// has come, releasing what was used. A layer waits only for its exact scores
// and for the lookup of the wanted units in the cache.
//
// A coordinator, its cache and its Work belong to one goroutine. Every call
// cleans up what an earlier one, given up halfway, left behind.
package transfer
