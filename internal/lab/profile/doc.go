// Package profile measures which MLP neurons of a model are active on a text,
// and what follows for a cache of neurons.
//
// Profiler runs a model exactly over a text, in windows of up to a context's
// length, each behind the model's begin-of-text token, and gives a Recording:
// how often each neuron was active, and for the first tokens, as far as memory
// was granted, which ones at each token. Analyse makes a Report of it, which prints
// itself for people and for programs. Prepare and Run.Do do all of this, and
// store how often each neuron fired beside the pack.
//
// Active means that the neuron's activation is not exactly zero. What counts is
// the positions that predict a token of the text: a window's begin-of-text
// token, and its tokens but for the last. So there are as many as the text has
// tokens, and shares are those that evaluating the text gives.
//
// # Skew
//
// A share of neurons that gives 80 % of all activations cannot be read off the
// counts: ranked by the same counts that are added up, the rare neurons that
// happened to fire come first, and the text looks more skewed than it is.
// Ranked by other tokens, it looks less skewed, since their ranking is not the
// true one either. Both errors shrink with the text, and to first order they
// are equal: the optimism of an apparent error rate against the pessimism of a
// cross-validated one (Efron, "Estimating the Error Rate of a Prediction Rule",
// JASA 78, 1983). Curve therefore averages the two, with the tokens dealt to
// ten folds in runs of 64 because neighbours are alike. TestSkewOfZipf says how
// close it comes.
//
// # Cache
//
// Miss rates are of one layer's cache of single neurons that replays the
// recorded sets in order, token by token (see package trace): a miss is a wanted
// neuron without a slot when its token begins. The policies are those of package
// cache on its WeightCache: LFU, LRU, and the frozen hot set.
// All start with the hottest neurons in their slots, chosen by the same text, so
// at full size nothing misses. The optimum knows the future and its best
// beginning: no policy, whatever it starts from, misses less.
//
// # Experts
//
// A mixture of experts has no neurons that are zero; what matters is which experts its
// layers choose. Run.Experts decodes a text, whatever tokens are likely, and
// AnalyseExperts makes an ExpertReport of the trace, or of one that was recorded
// elsewhere. Nothing is stored: the engine counts the use of experts whenever it runs.
// Of a model without a begin-of-text token the first token of a window is its prompt,
// which does not count. Where a text is longer than the context, the first tokens of each window are
// compared with the last of the one before.
//
// # Caveats
//
// The figures are the text's, and carry over to others only in part. A Profiler is used by one goroutine; the model must have exact zeros (ReLU).
package profile
