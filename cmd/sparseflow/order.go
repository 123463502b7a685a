package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/learned"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// orderJSON is what pack --order --json prints.
type orderJSON struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	Tokens int    `json:"tokens"` // that the profile was made of
}

// order puts the neurons of a pack in order of their profile.
func (a *app) order(ctx context.Context, f *packFlags) error {
	counts, err := storedCounts(f.order, f.cacheDir)
	if err != nil {
		return fmt.Errorf("pack: order %s: %w", f.order, err)
	}
	bar := a.newProgress()
	err = pack.Reorder(ctx, f.order, counts.Hottest, func(done, total int64) { bar.report("ordering", done, total) })
	bar.close()
	if err != nil {
		return err
	}
	return a.tell(f.json, orderJSON{schema, f.order, counts.Tokens},
		"%s: hottest neurons first, by a profile of %s", f.order, count(counts.Tokens, "token"))
}

var errNoNeurons = errors.New("got a model of which no neurons can be left out, want one whose neurons can be put in order; matrices and experts lie in one piece each")

var errNoProfile = errors.New("got no profile of the model, want one")

// storedCounts is the profile in the sidecar of the pack at path.
func storedCounts(path, cacheDir string) (*cache.Counts, error) {
	p, err := pack.Open(path)
	if err != nil {
		return nil, err
	}
	if !p.Profile().Sparse() {
		return nil, errors.Join(errNoNeurons, p.Close())
	}
	known, err := learned.Finder{CacheDir: cacheDir}.Of(hub.Source{}, p)
	if err = errors.Join(err, p.Close()); err == nil && known.Counts == nil {
		err = fmt.Errorf("%w; run: sparseflow profile %s", errNoProfile, path)
	}
	return known.Counts, err
}
