package convert

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Layout is the layout of a model's pack or, of one that has to be packed, of the
// pack that it becomes. It reads headers only.
func Layout(src hub.Source) (*pack.Layout, error) {
	p, s, err := openPlace(src, Options{})
	if err != nil {
		return nil, err
	}
	if p != nil {
		return p.Layout, p.Close()
	}
	defer s.ckpt.Close()
	spec, err := s.spec(Options{Name: src.Name})
	if err != nil {
		return nil, err
	}
	return spec.Layout()
}

// OpenKnown is Open of a model that needs not be packed or has been, as far as is
// known without hashing it; nil of another. See hub.CacheDir.
func OpenKnown(ctx context.Context, src hub.Source, cacheDir string, o Options) (*pack.Pack, error) {
	p, s, err := openPlace(src, o)
	if err != nil || p != nil {
		return p, err
	}
	defer s.ckpt.Close()
	if cacheDir, err = hub.CacheDir(cacheDir); err != nil {
		return nil, err
	}
	o.Name = src.Name
	path, err := s.known(ctx, cacheDir, o)
	if err != nil || path == "" {
		return nil, err
	}
	return pack.Open(path)
}

// Open opens a model's pack or its files where they are. A model that has to be
// packed is so in cacheDir first; see Cached and hub.CacheDir.
func Open(ctx context.Context, src hub.Source, cacheDir string, o Options) (*pack.Pack, error) {
	p, s, err := openPlace(src, o)
	if err != nil || p != nil {
		return p, err
	}
	defer s.ckpt.Close()
	if cacheDir, err = hub.CacheDir(cacheDir); err != nil {
		return nil, err
	}
	o.Name = src.Name
	path, err := s.cached(ctx, cacheDir, o)
	if err != nil {
		return nil, err
	}
	return pack.Open(path)
}

// openPlace opens a model where it is: as a pack if it can be used as it is, else as
// what has to be packed.
func openPlace(src hub.Source, o Options) (p *pack.Pack, s *opened, err error) {
	if src.Kind == hub.Pack {
		p, err = pack.Open(src.Path)
		return p, nil, err
	}
	if s, err = openSource(src); err != nil {
		return nil, nil, err
	}
	switch p, err = s.openInPlace(); {
	case err != nil:
		return nil, nil, errors.Join(err, s.ckpt.Close())
	case p == nil:
		return nil, s, nil
	}
	for _, n := range s.notices {
		o.notify("%s: %s", s.name, n)
	}
	return p, nil, nil
}
