package synth

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/convert"
)

// Pack makes the pack that converting the directory of WriteDir would make,
// without the directory. c says what element types it is to have and what it is
// called; its source is the checkpoint.
func Pack(ctx context.Context, path string, o Options, c convert.Options) (convert.Result, error) {
	if err := o.Validate(); err != nil {
		return convert.Result{}, err
	}
	r, err := makePack(ctx, path, o, c)
	if err != nil {
		return convert.Result{}, fmt.Errorf("synth: write %s: %w", path, err)
	}
	return r, nil
}

func makePack(ctx context.Context, path string, o Options, c convert.Options) (convert.Result, error) {
	// A worker that fails ends the drawing of a layer that others wait for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := newSource(ctx, o)
	if err != nil {
		return convert.Result{}, err
	}
	s.hash = newHasher(s)
	defer s.close()
	spec, err := convert.Describe(s, "", c)
	if err != nil {
		return convert.Result{}, err
	}
	l, err := spec.Layout()
	if err != nil {
		return convert.Result{}, err
	}
	if err := convert.RoomFor(filepath.Dir(path), l.Size()); err != nil {
		return convert.Result{}, err
	}
	s.start()
	c.Progress, c.OnePass = o.Progress, s.hash.finish
	return convert.Convert(ctx, s, "the synthetic checkpoint", path, c)
}
