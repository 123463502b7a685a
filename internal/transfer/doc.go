// Package transfer decides which neurons a layer computes and gets them into
// fast memory in time.
//
// The TransferCoordinator is asked twice for each layer. Before attention,
// Lookahead gets a forecast of the MLP's input: the neurons it predicts and
// the cache lacks are put into a NeuronTransferPlan, whose reads run while
// attention computes. After attention, Begin gets the exact input, and that
// alone decides what is computed: what was read early and is not wanted after
// all stays in the cache for later; what is wanted and missing is read now.
//
// Begin returns Work: the wanted neurons in ascending order, cut into
// segments each of which fits in fast memory at once. Missing neurons go to
// the cache's slots while a token is decoded. They go through a ring of
// staging slots where the cache may not change (a prompt must not flush what
// decoding needs) or is too small (all neurons of a layer, under a budget
// that holds some). The ring has two halves, one being filled while the other
// is computed.
//
// What all this takes of a processor is paid beside the computation where it
// can be (Options.Beside): what Lookahead makes of its scores, room for what is
// missing and the reads into it, the checks of what has come, the release of
// what was used. Before its neurons are computed a layer waits for its exact
// scores, and for looking up which of the wanted are there; those come first.
//
// Package transfer is where reads and computation meet; a coordinator, its
// cache and its Work belong to one goroutine.
package transfer
