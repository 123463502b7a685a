// Package tokenizer turns text into token ids and back by byte-level BPE, as
// GPT-2 and OPT use it.
//
// # Files
//
// [Load] reads a Hugging Face tokenizer from any [io/fs.FS]: tokenizer.json
// where there is one, else vocab.json with merges.txt. tokenizer.json wins
// because it states its pre-tokenizer: a model whose vocab.json looks like
// GPT-2's but whose text is split by another pattern is refused there, where
// vocab.json alone would give wrong ids without a word. tokenizer_config.json,
// special_tokens_map.json and added_tokens.json add to either; they say which
// tokens are special, and which of those are bos, eos, unk and pad.
//
// Where no file declares a special token, the vocabulary decides: one that
// holds </s> is fairseq's as OPT uses it (</s> is bos, eos and unk, <pad> is
// pad, and <s>, <unk> and <mask> are special too); one that holds
// <|endoftext|> is GPT-2's (bos, eos and unk). Where files declare some, only
// those are special, as in the reference.
//
// # Encoding
//
// Text is cut at the tokens that the files add (the longest match at the
// leftmost place), the rest is cut into pieces by GPT-2's pattern
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// and each piece's bytes are merged pair by pair, lowest rank first, leftmost
// first within a rank (Sennrich et al. 2016, arXiv:1508.07909; over bytes:
// Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
// The id of each merged token is looked up in the vocabulary, so ids need not
// follow ranks (OPT's do not).
//
// # Guarantees
//
//   - A [Tokenizer] never changes after Load: any number of goroutines may use
//     it, and it holds no cache that grows. In place of a cache, Load works out
//     once which tokens their own bytes encode to; a piece equal to one of
//     these is found by one probe, with the same result as merging.
//   - Encoding takes O(n log n) time in the longest piece, and some 50 bytes
//     of scratch per byte of a piece longer than 64 bytes.
//   - Decode(Encode(s)) is s for every valid UTF-8 text without stripping added
//     tokens, when the vocabulary has all 256 bytes.
//   - Text need not be UTF-8: stray bytes are encoded as the bytes they are and
//     [Tokenizer.DecodeBytes] gives them back; [Tokenizer.Decode] writes U+FFFD
//     for each maximal ill-formed part (Unicode 15, section 3.9, as Python's
//     errors="replace").
//   - Bad files give errors that name the file and the line or key.
//
// # Caveats
//
// Letters, numbers and white space are those of the unicode package's version;
// characters that Unicode assigned later count as neither. Text that spells a
// special token is encoded as that token, as in the reference: who encodes
// text from strangers and must not let it end a document has to look for it.
// Decoding adds and removes no spaces (the reference's
// clean_up_tokenization_spaces=False, spaces_between_special_tokens=False).
package token
