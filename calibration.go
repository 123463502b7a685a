package sparseflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
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

// learned is what a model's sidecar says: nil where it says nothing.
type learned struct {
	calibration *Calibration
	factors     []lowrank.Layer // [layers] of the trained predictors
	counts      *cache.Counts
}

// use sets what the caller of Open did not.
func (l learned) use(o *engine.Options) {
	if o.Calibration == nil {
		o.Calibration, o.LowRank = l.calibration, l.factors
	}
	if o.Counts == nil && !o.Unprofiled {
		o.Counts = l.counts
	}
}

// wantsFactors reports whether trained factors are asked for by name.
func (o options) wantsFactors() bool { return o.engine.Strategy.Predictor == "lowrank" }

// learnedOf is what was learned about a pack's weights by the user or, for the
// embedded model, came with it.
func learnedOf(src hub.Source, p *pack.Pack, o options) (l learned, err error) {
	dir, err := hub.CacheDir(o.cacheDir)
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
		if err := l.read(side, p.Profile(), o.wantsFactors()); err != nil {
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
	return l, l.read(side, p.Profile(), o.wantsFactors())
}

// read adds what a sidecar says and l does not know. Trained factors, which take
// a second to decode for a large model, are for layers that are predicted by
// them, or if they are wanted by name.
func (l *learned) read(s *sidecar.Sidecar, p ModelProfile, wanted bool) (err error) {
	if sec, ok := s.Section(predict.CalibrationSection); ok && l.calibration == nil {
		if l.calibration, err = predict.ReadCalibration(sec, p.Layers, p.HiddenSize, p.FFN); err != nil {
			return err
		}
		if sec, ok := s.Section(lowrank.SectionName); ok && (wanted || l.calibration.Uses(predict.KindLowRank)) {
			if l.factors, err = lowrank.ReadLayers(sec, p.Layers, p.HiddenSize, p.FFN); err != nil {
				return err
			}
		}
	}
	if sec, ok := s.Section(cache.CountsSection); ok && l.counts == nil {
		if l.counts, err = cache.ReadCounts(sec, p.Layers, p.FFN); err != nil {
			return err
		}
	}
	return nil
}

// knownLearned is what Open would use, as far as that is known without
// converting or hashing a checkpoint.
func knownLearned(src hub.Source, o options) (l learned, err error) {
	path, err := convert.KnownPack(context.Background(), src, o.cacheDir)
	if err != nil {
		return l, err
	}
	if path == "" {
		return embeddedLearned(src, o)
	}
	p, err := pack.Open(path)
	if err != nil {
		return l, err
	}
	l, err = learnedOf(src, p, o)
	return l, errors.Join(err, p.Close())
}

// embeddedLearned is what comes with the embedded model, nothing for others.
func embeddedLearned(src hub.Source, o options) (l learned, err error) {
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
	return l, l.read(side, layout.Profile(), o.wantsFactors())
}
