package sparseflow

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/token"
)

// Tokenizer turns text into token ids and back.
type Tokenizer = token.Tokenizer

// LoadTokenizer reads the tokenizer of a model, which is named as for Open,
// without looking at the weights. A directory that holds tokenizer files alone
// will do. A model without tokenizer files, or with some that cannot be used, is
// ErrNoTokenizer.
//
// Of the options WithCacheDir says where models of a name are looked for.
func LoadTokenizer(model string, opts ...Option) (*Tokenizer, error) {
	if info, err := os.Stat(model); err == nil && info.IsDir() && model != hub.Tiny {
		return loadTokenizer(os.DirFS(model), filepath.Clean(model))
	}
	src, err := hub.FindIn(model, makeOptions(opts).cacheDir)
	if err != nil {
		return nil, err
	}
	return tokenizerOf(src)
}

// tokenizerOf is LoadTokenizer of a model that was found.
func tokenizerOf(src hub.Source) (*token.Tokenizer, error) {
	files := src.FS
	if src.Kind == hub.Pack {
		p, err := pack.Open(src.Path)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		files = p.Tokenizer()
	}
	return loadTokenizer(files, src.Path)
}

func loadTokenizer(files fs.FS, path string) (*token.Tokenizer, error) {
	t, err := token.Load(files, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNoTokenizer, path)
	case err != nil:
		return nil, &refusedTokenizer{err}
	}
	return t, nil
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
