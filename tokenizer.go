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
// will do. A model without tokenizer files is ErrNoTokenizer.
//
// Of the options WithCacheDir says where models of a name are looked for.
func LoadTokenizer(model string, opts ...Option) (*Tokenizer, error) {
	if info, err := os.Stat(model); err == nil && info.IsDir() && model != hub.Tiny {
		t, err := token.Load(os.DirFS(model), filepath.Clean(model))
		return t, orNoTokenizer(err, model)
	}
	src, err := hub.FindIn(model, makeOptions(opts).cacheDir)
	if err != nil {
		return nil, err
	}
	files := src.FS
	if src.Kind == hub.Pack {
		p, err := pack.Open(src.Path)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		files = p.Tokenizer()
	}
	t, err := token.Load(files, src.Path)
	return t, orNoTokenizer(err, src.Path)
}

// orNoTokenizer tells a model without tokenizer files from one whose files are
// bad.
func orNoTokenizer(err error, model string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoTokenizer, model)
	}
	return err
}

// Tokenizer is the model's tokenizer, nil where it has no tokenizer files.
func (e *Engine) Tokenizer() *Tokenizer { return e.tok }
