package sparseflow

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/token"
)

// Tokenizer turns text into token ids and back. It is immutable: methods may be
// called from any number of goroutines.
type Tokenizer struct{ t *token.Tokenizer }

// Encode returns the ids of text: with addSpecial between the tokens that the
// reference frames it with or, where it adds none, behind the begin-of-text
// token if there is one. Special tokens that text spells are encoded as
// themselves. Where TryEncode gives an error, the part of the text that it is
// about is encoded uncut.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 { return t.t.Encode(text, addSpecial) }

// TryEncode is Encode with an error where a pattern of the tokenizer's files
// takes more time on this text than any useful one does.
func (t *Tokenizer) TryEncode(text string, addSpecial bool) ([]int32, error) {
	return t.t.TryEncode(text, addSpecial)
}

// Decode returns the text of ids, without special tokens if skipSpecial is set.
// Bytes that form no UTF-8 become U+FFFD. Ids that name no token, which a model
// whose logits are wider than the vocabulary can produce, give nothing.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string { return t.t.Decode(ids, skipSpecial) }

// DecodeBytes returns the bytes of ids as Decode does, but of a byte-level
// vocabulary as they are.
func (t *Tokenizer) DecodeBytes(ids []int32, skipSpecial bool) []byte {
	return t.t.DecodeBytes(ids, skipSpecial)
}

// NewDecoder returns a decoder at the start of a text.
func (t *Tokenizer) NewDecoder() *StreamDecoder { return &StreamDecoder{d: t.t.NewDecoder()} }

// Token returns the text of a token as its files spell it or, of a byte-level
// vocabulary, its bytes, which need not be valid UTF-8 by themselves, and
// whether there is such a token.
func (t *Tokenizer) Token(id int32) (string, bool) { return t.t.Token(id) }

// IsSpecial reports whether the files declare id special, which is what Decode
// skips when told to. It is false for ids that name no token.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.t.IsSpecial(id) }

// AddsBOS reports whether the reference frames every text with special tokens,
// mostly a begin-of-text token before it, for this tokenizer: the value of
// Encode's addSpecial that reproduces it.
func (t *Tokenizer) AddsBOS() bool { return t.t.AddsBOS() }

// BOS returns the id of the token that begins a text, if there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.t.BOS() }

// EOS returns the id of the token that ends a text, if there is one.
func (t *Tokenizer) EOS() (int32, bool) { return t.t.EOS() }

// Pad returns the id of the token that fills batches, if there is one.
func (t *Tokenizer) Pad() (int32, bool) { return t.t.Pad() }

// Unk returns the id that stands for text the vocabulary lacks, if there is one.
func (t *Tokenizer) Unk() (int32, bool) { return t.t.Unk() }

// VocabSize returns one more than the largest id, added tokens included. A
// model's logits may be wider.
func (t *Tokenizer) VocabSize() int { return t.t.VocabSize() }

// Roles returns the text of each token that the files give a role, by the name
// of the role there, such as eos_token. Chat templates use these.
func (t *Tokenizer) Roles() map[string]string { return t.t.Roles() }

// ChatTemplate returns the chat template of a name; the one of name "" is what
// the files call default. Files with several have others such as tool_use.
func (t *Tokenizer) ChatTemplate(name string) (string, bool) { return t.t.ChatTemplate(name) }

// StreamDecoder decodes ids one by one, as they are generated. What Push and
// Flush return, put together, is what Decode returns for all the ids, and each
// part is valid UTF-8: what could be the start of a character waits for its end.
// The one exception is byte fallback: of byte tokens that are no UTF-8, Decode
// spoils the characters before in the same run, which a stream has written by
// then. A decoder is for one stream and one goroutine.
type StreamDecoder struct {
	SkipSpecial bool // leave special tokens out of the text

	d *token.StreamDecoder
}

// Push adds a token and returns the text that is complete with it, which may be
// none.
func (d *StreamDecoder) Push(id int32) string {
	d.d.SkipSpecial = d.SkipSpecial
	return d.d.Push(id)
}

// Flush ends the text: it returns U+FFFD for what is held, if anything is, and
// leaves the decoder at the start of a text.
func (d *StreamDecoder) Flush() string { return d.d.Flush() }

// LoadTokenizer reads the tokenizer of a model, which is named as for Open,
// without looking at the weights. A directory that holds tokenizer files alone
// will do. A model without tokenizer files, or with some that cannot be used, is
// ErrNoTokenizer.
//
// Of the options WithCacheDir says where models of a name are looked for.
func LoadTokenizer(model string, opts ...Option) (*Tokenizer, error) {
	src, err := hub.FindIn(model, makeOptions(opts).cacheDir)
	if info, stat := os.Stat(model); stat == nil && info.IsDir() && model != hub.Tiny && (err != nil || src.Kind != hub.GGUF) {
		return loadTokenizer(os.DirFS(model), filepath.Clean(model))
	}
	if err != nil {
		return nil, err
	}
	return tokenizerOf(src)
}

// tokenizerOf is LoadTokenizer of a model that was found.
func tokenizerOf(src hub.Source) (*Tokenizer, error) {
	files := src.FS
	switch src.Kind {
	case hub.GGUF:
		return tokenizerOfGGUF(src)
	case hub.Pack:
		p, err := pack.Open(src.Path)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		files = p.Tokenizer()
		if raw, err := fs.ReadFile(files, pack.TokenizerGGUF); err == nil {
			h, err := gguf.ReadHeader(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				return nil, &refusedTokenizer{err}
			}
			return fromGGUF(h.Metadata, src.Path)
		}
	}
	return loadTokenizer(files, src.Path)
}

// tokenizerOfGGUF makes the tokenizer that a GGUF model's metadata describe.
func tokenizerOfGGUF(src hub.Source) (*Tokenizer, error) {
	metadata, err := src.Metadata()
	if err != nil {
		return nil, err
	}
	return fromGGUF(metadata, src.Path)
}

func fromGGUF(metadata map[string]any, path string) (*Tokenizer, error) {
	if _, ok := metadata["tokenizer.ggml.model"]; !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoTokenizer, path)
	}
	t, err := token.FromGGUF(metadata, path)
	if err != nil {
		return nil, &refusedTokenizer{err}
	}
	return &Tokenizer{t}, nil
}

func loadTokenizer(files fs.FS, path string) (*Tokenizer, error) {
	t, err := token.Load(files, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNoTokenizer, path)
	case err != nil:
		return nil, &refusedTokenizer{err}
	}
	return &Tokenizer{t}, nil
}

// A refusedTokenizer is the error of text for a model whose tokenizer files are
// there but cannot be used. It is an ErrNoTokenizer.
type refusedTokenizer struct{ reason error }

// Error implements error.
func (e *refusedTokenizer) Error() string {
	return fmt.Sprintf("sparseflow: got text for a model whose tokenizer cannot be used, want token ids: %v", e.reason)
}

// Is implements errors.Is.
func (e *refusedTokenizer) Is(target error) bool { return target == ErrNoTokenizer }

// Unwrap is what is wrong with the files.
func (e *refusedTokenizer) Unwrap() error { return e.reason }

// Tokenizer is the model's tokenizer, nil where it has none that can be used.
func (e *Engine) Tokenizer() *Tokenizer { return e.tok }
