// Package token turns text into token ids and back, by the pipeline that a
// model's files describe.
//
// # Files
//
// [Load] reads a Hugging Face tokenizer from any [io/fs.FS]: tokenizer.json
// where there is one, else vocab.json with merges.txt, which are GPT-2's
// pipeline. tokenizer.json wins because it states how text is cut, where
// vocab.json alone would give wrong ids without a word. [FromGGUF] makes the
// same of a GGUF file's metadata. tokenizer_config.json,
// special_tokens_map.json and added_tokens.json add to a tokenizer's files;
// they say which tokens are special, and which of those are bos, eos, unk and
// pad. Chat templates are kept to be read.
//
// A part of a pipeline that is not known here is an error that names it and
// what is known: who has ids needs no tokenizer.
//
// Where no file beside vocab.json declares a special token, the vocabulary
// decides: one that holds </s> is fairseq's as OPT uses it (</s> is bos, eos
// and unk, <pad> is pad, and <s>, <unk> and <mask> are special too); one that
// holds <|endoftext|> is GPT-2's (bos, eos and unk). Where files declare some,
// only those are special, as in the reference.
//
// # Encoding
//
// The reference is Hugging Face's tokenizers library. Text is cut at the added
// tokens that it spells; the rest is normalized and cut at the added tokens
// that are looked for there; what is then left goes through the
// pre-tokenizers, and each piece is merged pair by pair, lowest rank first
// (byte pair encoding), from bytes or from characters. SentencePiece models of
// a GGUF have scores for ranks. Post-processors say what frames the text.
//
// Patterns run on a matcher of this package, in the syntax of the reference's
// library and with Unicode 16.0 as that has it. It backtracks as that does, but
// the steps for a text are bounded: [Tokenizer.TryEncode] says so.
//
// # Guarantees
//
//   - Any number of goroutines may use a [Tokenizer], and it holds no cache
//     that grows. What it remembers of single tokens changes no result.
//   - Encoding takes O(n log n) time in the longest piece, and some 50 bytes
//     of scratch per byte of a piece longer than 64 bytes.
//   - Decode(Encode(s)) is s for every valid UTF-8 text without stripping added
//     tokens, when the vocabulary has all 256 bytes and nothing normalizes.
//   - Text need not be UTF-8: byte-level models encode stray bytes as the bytes
//     they are and [Tokenizer.DecodeBytes] gives them back; [Tokenizer.Decode]
//     writes U+FFFD for each maximal ill-formed part (Unicode 15, section 3.9,
//     as Python's errors="replace").
//   - Bad files give errors that name the file and the line or key.
//
// # Caveats
//
// Text that spells a special token is encoded as that token, as in the
// reference: who encodes text from strangers and must not let it end a document
// has to look for it. Decoding adds and removes no spaces (the reference's
// clean_up_tokenization_spaces=False, spaces_between_special_tokens=False). Of
// a byte-level vocabulary an added token decodes to its own text, where the
// reference takes it for the spelling of bytes. Special tokens are left out of a
// decoded text also where a normalizer changes theirs. Refused are endless
// repeats of what can match no text, \R, \X, and models other than BPE.
package token
