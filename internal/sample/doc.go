// Package sample turns the logits of one position into the next token.
//
// A [Sampler] belongs to one sequence. Each call passes the logits through the
// processors that Hugging Face transformers applies, in its order:
//
//  1. repetition penalty (after Keskar et al. 2019, arXiv:1909.05858, section
//     4.1, who do not tell signs apart): the logit of every id that already
//     occurs in the context, prompt included, is divided by the penalty where
//     positive and multiplied by it where negative, once however often the id
//     occurs;
//  2. temperature: logits are divided by it;
//  3. top-k: logits below the k-th largest are removed, so that ties with the
//     k-th stay and more than k may survive;
//  4. top-p (Holtzman et al. 2019, arXiv:1904.09751): a token stays while the
//     tokens above it hold less than p of the mass, at least one token;
//     where the limit falls among equal logits, the higher ids stay;
//  5. min-p (Nguyen et al. 2024, arXiv:2407.01082): tokens less likely than
//     min-p times the likeliest are removed.
//
// What is left is renormalised and drawn from.
//
// # Guarantees
//
//   - The same parameters, seed, logits and contexts give the same tokens, on
//     every machine on which [math.Exp] rounds alike. A draw takes exactly one
//     number from the generator (PCG-DXSM, O'Neill 2014), greedy takes none.
//   - Logits that are NaN or infinite are an error that names the first such
//     id, never a token. A removed token is never drawn.
//   - The caller's logits are never written to.
//   - After its first call a Sampler allocates nothing, unless a later call
//     brings a larger vocabulary or more ties with the k-th logit.
//   - Greedy is one pass over the logits. No filter sorts: top-k and top-p find
//     their threshold in three counting passes, linear in the vocabulary at
//     any k and p.
//
// # Caveats
//
// Probabilities are accumulated in float64 where the reference works in
// float32; they agree within 1e-5, save that a token whose cumulative mass lies
// within float32 rounding of p may fall on the other side. A threshold counts as
// reached when it is equal in float32, so that ten equal tokens at p = 0.3 leave
// three, as the decimal says.
//
// Where top-p cuts through equal logits, the reference keeps as many of them but
// leaves which ones to a sort that is not stable. The higher ids are what a stable
// one would keep.
//
// A Sampler is not safe for concurrent use. It holds 16 bytes for each candidate
// that survives top-k (for each vocabulary entry where top-k is off), 4 bytes for
// each vocabulary entry where there is a repetition penalty, and 16 KiB; a greedy
// one without penalty holds nothing beyond the 16 KiB.
package sample
