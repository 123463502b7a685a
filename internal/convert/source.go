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

// KnownPack is the path of a model's pack, "" where its checkpoint has not been
// converted as far as is known without hashing it. See hub.CacheDir.
func KnownPack(ctx context.Context, src hub.Source, cacheDir string) (string, error) {
	if src.Kind != hub.Checkpoint {
		return src.Path, nil
	}
	cacheDir, err := hub.CacheDir(cacheDir)
	if err != nil {
		return "", err
	}
	return Known(ctx, src.FS, src.Path, cacheDir, Options{Name: src.Name})
}

// Open opens a model's pack, which is made in cacheDir first if the model is a
// checkpoint; see Cached and hub.CacheDir.
func Open(ctx context.Context, src hub.Source, cacheDir string, o Options) (*pack.Pack, error) {
	if src.Kind != hub.Checkpoint {
		return pack.Open(src.Path)
	}
	cacheDir, err := hub.CacheDir(cacheDir)
	if err != nil {
		return nil, err
	}
	o.Name = src.Name
	path, err := Cached(ctx, src.FS, src.Path, cacheDir, o)
	if err != nil {
		return nil, err
	}
	return pack.Open(path)
}
