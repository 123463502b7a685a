// Package bench measures how fast a model runs, beside baselines and beside
// the limits of the machine, in one run.
//
// A row is one test in one mode. A test is ppN, a prompt of N tokens, or tgN,
// N tokens decoded one by one after the begin-of-text token. Decoding is
// forced: the tokens are those of a real text, not of whatever loop the model
// falls into, and each repetition takes the text's next part, so that a cache
// cannot know it already. The modes:
//
//   - sparse: as the strategy says, under its budget.
//   - resident: the same with everything in memory.
//   - dense: every neuron of every token, with everything in memory.
//   - naive: dense under the budget. As many neurons as fit stay in memory,
//     contiguous in the file; the others of a layer are read by one
//     synchronous read each time. Which ones stay makes no difference to it,
//     since it needs all; the buffer for one layer's read comes on top of its
//     budget, in its favour.
//
// Each mode runs in a process of its own, whose peak memory is therefore its
// own (Run starts them, Child is what they do). Before it is timed it must
// prove itself: the exact logits of a text's beginning must have the bits that
// the first mode's had, exact modes must go on with the same greedy tokens,
// and what leaves neurons out says what that costs, since speed bought by
// dropping neurons does not count.
//
// # Limits
//
// Memory and disk are measured in the same run on the same file (Measure), and
// how fast the kernels multiply weights of the model's shape and types: with these
// rates a plan estimates a token's time. A row's own limit is sharper: after it is
// timed, the process loads from memory the very bytes that its last tokens
// multiplied, in the same pattern on the same threads, and computes nothing.
//
// Neither limit counts what is missed. The bound does: the longer of the time in
// which memory brings what a token multiplies, and that in which the disk brings what
// of its units was not in memory, by rates measured just before and after.
//
// # Experts
//
// A mixture of experts has modes sparse and resident alone. Both are exact, since its
// router chooses, and each must have the other's logits and greedy tokens.
package bench
