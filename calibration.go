package sparseflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sparseflow/sparseflow/internal/calibrate"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/internal/weights"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// Calibration is what real text says about a model's predictor, and the
// operating points that OffloadStrategy.Quality chooses among.
type Calibration = predict.Calibration

// OperatingPoint is one setting of a calibrated predictor and what it costs.
type OperatingPoint = predict.Point

// Point is the operating point of predicted mode, nil if the model is not
// calibrated.
func (e *Engine) Point() *OperatingPoint { return e.e.Point() }

// learned is what a model's sidecar says: nil where it says nothing.
type learned struct {
	calibration *Calibration
	counts      *weights.Counts
}

// use sets what the caller of Open did not.
func (l learned) use(o *engine.Options) {
	if o.Calibration == nil {
		o.Calibration = l.calibration
	}
	if o.Counts == nil && !o.Unprofiled {
		o.Counts = l.counts
	}
}

// learnedOf is what was learned about a pack's weights by the user or, for the
// embedded model, came with it.
func learnedOf(src hub.Source, p *pack.Pack, o options) (l learned, err error) {
	dir, err := o.cache()
	if err != nil {
		return l, err
	}
	side, err := sidecar.Lookup(p.Path(), dir, p.SourceSHA256())
	var other *sidecar.MismatchError
	switch {
	case errors.As(err, &other):
		if o.notify != nil {
			o.notify(fmt.Sprintf("ignored: %v", err))
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return l, err
	case err == nil:
		if err := l.read(side, p.Profile()); err != nil {
			return l, err
		}
	}
	if src.Name != hub.Tiny {
		return l, nil
	}
	side, err = sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", p.SourceSHA256())
	if err != nil {
		return l, err
	}
	return l, l.read(side, p.Profile())
}

// read adds what a sidecar says and l does not know.
func (l *learned) read(s *sidecar.Sidecar, p ModelProfile) (err error) {
	if sec, ok := s.Section(predict.CalibrationSection); ok && l.calibration == nil {
		if l.calibration, err = predict.ReadCalibration(sec, p.Layers, p.FFN); err != nil {
			return err
		}
	}
	if sec, ok := s.Section(weights.CountsSection); ok && l.counts == nil {
		if l.counts, err = weights.ReadCounts(sec, p.Layers, p.FFN); err != nil {
			return err
		}
	}
	return nil
}

// knownLearned is what Open would use, as far as that is known without
// converting or hashing a checkpoint.
func knownLearned(src hub.Source, o options) (l learned, err error) {
	path := src.Path
	if src.Kind == hub.Checkpoint {
		dir, err := o.cache()
		if err != nil {
			return l, err
		}
		path, err = convert.Known(context.Background(), src.FS, src.Path, dir, convert.Options{Name: src.Name})
		if err != nil {
			return l, err
		}
	}
	if path == "" {
		return embeddedLearned(src)
	}
	p, err := pack.Open(path)
	if err != nil {
		return l, err
	}
	l, err = learnedOf(src, p, o)
	return l, errors.Join(err, p.Close())
}

// embeddedLearned is what comes with the embedded model, nothing for others.
func embeddedLearned(src hub.Source) (l learned, err error) {
	if src.Name != hub.Tiny {
		return l, nil
	}
	layout, err := convert.Layout(src)
	if err != nil {
		return l, err
	}
	hash, err := convert.SourceHash(context.Background(), src.FS, src.Path)
	if err != nil {
		return l, err
	}
	side, err := sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", hash)
	if err != nil {
		return l, err
	}
	return l, l.read(side, layout.Profile())
}

// Train calibrates a model's predictor on a text and stores what it learned in
// a sidecar, whose path it returns: at path if that is not empty, else beside
// the pack or, where that cannot be written to, in the cache directory. textName
// is what the text is called. A training that ends early changes nothing.
func Train(ctx context.Context, model, text, textName, path string, opts ...Option) (*Calibration, string, error) {
	o := makeOptions(opts)
	src, err := hub.Find(model)
	if err != nil {
		return nil, "", err
	}
	p, err := openPack(ctx, src, o)
	if err != nil {
		return nil, "", err
	}
	packPath, source := p.Path(), p.SourceSHA256()
	if path == "" {
		dir, err := o.cache()
		if err == nil {
			path, err = sidecar.PathFor(packPath, dir, source)
		}
		if err != nil {
			return nil, "", errors.Join(err, p.Close())
		}
	}
	tok, err := tokenizerOf(p)
	if err == nil && tok == nil {
		err = ErrNoTokenizer
	}
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, "", err
	}
	c, err := calibrate.Calibrate(ctx, calibrate.Options{
		IDs:      tok.Encode(text, false),
		Text:     textName,
		Progress: o.progress,
		Notify:   o.notify,
		Open: func(ctx context.Context, exact bool, eo engine.Options) (*engine.Engine, error) {
			p, err := openPack(ctx, src, options{engine: o.engine, cacheDir: o.cacheDir})
			if err != nil {
				return nil, err
			}
			eo.Strategy = o.engine.Strategy
			eo.Strategy.Mode, eo.Strategy.Predictor = Predicted, ""
			if exact {
				eo.Strategy.Mode = Gate
			}
			return engine.Open(ctx, p, eo)
		},
	})
	if err != nil {
		return nil, "", fmt.Errorf("train %s: %w", src.Name, err)
	}
	sec, err := c.Section()
	if err != nil {
		return nil, "", err
	}
	err = sidecar.Update(ctx, path, source, func(s *sidecar.Sidecar) *sidecar.Sidecar { return s.With(predict.CalibrationSection, sec) })
	return c, path, err
}
