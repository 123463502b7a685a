package sparseflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sparseflow/sparseflow/internal/convert"
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

// learned is what is known of a model's predictors.
type learned struct {
	calibration *Calibration    // nil if there is none
	factors     []lowrank.Layer // [layers] of the trained predictors, nil if there are none
}

// into gives an engine's options what is known.
func (k learned) into(o *options) { o.engine.Calibration, o.engine.LowRank = k.calibration, k.factors }

// calibrationOf is what is known of a pack: the user's own or, for the embedded
// model, what comes with it.
func calibrationOf(src hub.Source, p *pack.Pack, o options) (learned, error) {
	dir, err := o.cache()
	if err != nil {
		return learned{}, err
	}
	side, err := sidecar.Lookup(p.Path(), dir, p.SourceSHA256())
	var other *sidecar.MismatchError
	switch {
	case errors.As(err, &other):
		if o.notify != nil {
			o.notify(fmt.Sprintf("ignored: %v", err))
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return learned{}, err
	case err == nil:
		if k, err := readCalibration(side, p.Profile()); k.calibration != nil || err != nil {
			return k, err
		}
	}
	if src.Name != hub.Tiny {
		return learned{}, nil
	}
	side, err = sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", p.SourceSHA256())
	if err != nil {
		return learned{}, err
	}
	return readCalibration(side, p.Profile())
}

func readCalibration(s *sidecar.Sidecar, p ModelProfile) (k learned, err error) {
	sec, ok := s.Section(predict.CalibrationSection)
	if !ok {
		return learned{}, nil
	}
	if k.calibration, err = predict.ReadCalibration(sec, p.Layers, p.FFN); err != nil {
		return learned{}, err
	}
	if sec, ok = s.Section(lowrank.SectionName); ok {
		k.factors, err = lowrank.ReadLayers(sec, p.Layers, p.HiddenSize, p.FFN)
	}
	return k, err
}

// knownCalibration is the calibration that Open would use, as far as that is
// known without converting or hashing a checkpoint.
func knownCalibration(src hub.Source, o options) (learned, error) {
	path, err := knownPack(src, o)
	if err != nil {
		return learned{}, err
	}
	if path == "" {
		return embeddedCalibration(src)
	}
	p, err := pack.Open(path)
	if err != nil {
		return learned{}, err
	}
	k, err := calibrationOf(src, p, o)
	return k, errors.Join(err, p.Close())
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

// embeddedCalibration is what is known of the embedded model, nothing of others.
func embeddedCalibration(src hub.Source) (learned, error) {
	if src.Name != hub.Tiny {
		return learned{}, nil
	}
	l, err := convert.Layout(src)
	if err != nil {
		return learned{}, err
	}
	hash, err := convert.SourceHash(context.Background(), src.FS, src.Path)
	if err != nil {
		return learned{}, err
	}
	side, err := sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", hash)
	if err != nil {
		return learned{}, err
	}
	return readCalibration(side, l.Profile())
}
