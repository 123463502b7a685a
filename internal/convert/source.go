package convert

import (
	"context"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Layout is the layout of a model's pack or, of a checkpoint, of the pack that
// it becomes. It reads headers only.
func Layout(src hub.Source) (*pack.Layout, error) {
	if src.Kind == hub.Checkpoint {
		spec, err := Describe(src.FS, src.Path, Options{Name: src.Name})
		if err != nil {
			return nil, err
		}
		return spec.Layout()
	}
	p, err := pack.Open(src.Path)
	if err != nil {
		return nil, err
	}
	return p.Layout, p.Close()
}

// Open opens a model's pack, which is made in cacheDir first if the model is a
// checkpoint; see Cached. An empty cacheDir is hub.DefaultCacheDir.
func Open(ctx context.Context, src hub.Source, cacheDir string, o Options) (*pack.Pack, error) {
	if src.Kind != hub.Checkpoint {
		return pack.Open(src.Path)
	}
	if cacheDir == "" {
		var err error
		if cacheDir, err = hub.DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	o.Name = src.Name
	path, err := Cached(ctx, src.FS, src.Path, cacheDir, o)
	if err != nil {
		return nil, err
	}
	return pack.Open(path)
}
