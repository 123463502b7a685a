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

// calibrationOf is the calibration of a pack: the user's own or, for the
// embedded model, the one that comes with it. It is nil if there is none.
func calibrationOf(src hub.Source, p *pack.Pack, o options) (*Calibration, error) {
	dir, err := o.cache()
	if err != nil {
		return nil, err
	}
	side, err := sidecar.Lookup(p.Path(), dir, p.SourceSHA256())
	var other *sidecar.MismatchError
	switch {
	case errors.As(err, &other):
		if o.notify != nil {
			o.notify(fmt.Sprintf("ignored: %v", err))
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err == nil:
		if c, err := readCalibration(side, p.Profile()); c != nil || err != nil {
			return c, err
		}
	}
	if src.Name != hub.Tiny {
		return nil, nil
	}
	side, err = sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", p.SourceSHA256())
	if err != nil {
		return nil, err
	}
	return readCalibration(side, p.Profile())
}

func readCalibration(s *sidecar.Sidecar, p ModelProfile) (*Calibration, error) {
	sec, ok := s.Section(predict.CalibrationSection)
	if !ok {
		return nil, nil
	}
	return predict.ReadCalibration(sec, p.Layers, p.FFN)
}

// knownCalibration is the calibration that Open would use, as far as that is
// known without converting or hashing a checkpoint.
func knownCalibration(src hub.Source, o options) (*Calibration, error) {
	path, err := knownPack(src, o)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return embeddedCalibration(src)
	}
	p, err := pack.Open(path)
	if err != nil {
		return nil, err
	}
	c, err := calibrationOf(src, p, o)
	return c, errors.Join(err, p.Close())
}

// knownPack is the path of a model's pack, "" where its checkpoint has not been
// converted as far as is known without hashing it.
func knownPack(src hub.Source, o options) (string, error) {
	if src.Kind != hub.Checkpoint {
		return src.Path, nil
	}
	dir, err := o.cache()
	if err != nil {
		return "", err
	}
	return convert.Known(context.Background(), src.FS, src.Path, dir, convert.Options{Name: src.Name})
}

// embeddedCalibration is that of the embedded model, nil for others.
func embeddedCalibration(src hub.Source) (*Calibration, error) {
	if src.Name != hub.Tiny {
		return nil, nil
	}
	l, err := convert.Layout(src)
	if err != nil {
		return nil, err
	}
	hash, err := convert.SourceHash(context.Background(), src.FS, src.Path)
	if err != nil {
		return nil, err
	}
	side, err := sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", hash)
	if err != nil {
		return nil, err
	}
	return readCalibration(side, l.Profile())
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
