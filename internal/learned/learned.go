// Package learned finds what is known of a model beside its weights: what a
// sidecar says of it, and what comes with the embedded model.
package learned

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/predict/lowrank"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// Learned is what is known of a model: nil where nothing is.
type Learned struct {
	Calibration *predict.Calibration
	Factors     []lowrank.Layer // [layers] of the trained predictors
	Counts      *cache.Counts
}

// Finder says where to look.
type Finder struct {
	CacheDir string // "": the default
	// Factors has factors read though no layer of the calibration is predicted
	// by them.
	Factors bool
	// Notify, if not nil, is told of a sidecar that is of another model.
	Notify func(string)
}

// Use sets what the caller did not set.
func (l Learned) Use(o *engine.Options) {
	if o.Calibration == nil {
		o.Calibration, o.LowRank = l.Calibration, l.Factors
	}
	if o.Counts == nil && !o.Unprofiled {
		o.Counts = l.Counts
	}
}

// Of is what is known of a pack's weights: what the user learned, or else what
// came with the embedded model.
func (f Finder) Of(src hub.Source, p *pack.Pack) (l Learned, err error) {
	beside, dir, err := f.places(p)
	if err != nil {
		return l, err
	}
	side, err := sidecar.Lookup(beside, dir, p.SourceSHA256())
	var other *sidecar.MismatchError
	switch {
	// Nothing that is computed depends on what is known of experts.
	case errors.As(err, &other), err != nil && !errors.Is(err, fs.ErrNotExist) && p.Profile().Experts() > 0:
		if f.Notify != nil {
			f.Notify(fmt.Sprintf("ignored: %v", err))
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return l, err
	case err == nil:
		if err := l.read(side, p.Profile(), f.Factors); err != nil {
			return l, err
		}
	}
	err = f.embedded(&l, src, p.Profile(), p.SourceSHA256())
	return l, err
}

// places are where the sidecar of a pack lies: beside it, or in a directory.
func (f Finder) places(p *pack.Pack) (beside, dir string, err error) {
	if dir, err = hub.CacheDir(f.CacheDir); err != nil {
		return "", "", err
	}
	if beside = p.Path(); !p.Checksums() { // files used in place belong to others
		beside = filepath.Join(dir, p.SourceSHA256())
	}
	return beside, dir, nil
}

// keepWait is how long Keep waits for others who write the same sidecar.
const keepWait = 2 * time.Second

// Keeper returns what adds to the sidecar of p how its experts were used, for the next
// start. Where it cannot be written the next start knows less, which is nobody's error.
func (f Finder) Keeper(p *pack.Pack) func(*cache.Counts) {
	beside, dir, err := f.places(p)
	profile, hash := p.Profile(), p.SourceSHA256()
	if err != nil {
		return nil
	}
	return func(use *cache.Counts) {
		path, err := sidecar.PathFor(beside, dir, hash)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), keepWait)
		defer cancel()
		_ = sidecar.Update(ctx, path, hash, func(s *sidecar.Sidecar) *sidecar.Sidecar {
			section, err := use.After(readUse(s, profile)).Section()
			if err != nil {
				return nil
			}
			return s.With(cache.UseSection, section)
		})
	}
}

// readUse is how a sidecar says that experts were used before, nil if it does not.
func readUse(s *sidecar.Sidecar, p config.ModelProfile) *cache.Counts {
	sec, ok := s.Section(cache.UseSection)
	if !ok {
		return nil
	}
	c, err := cache.ReadCounts(sec, p.Layers, p.Units())
	if err != nil {
		return nil
	}
	return c
}

// Known is what Of would find, as far as that is known without converting or
// hashing a checkpoint.
func (f Finder) Known(src hub.Source) (l Learned, err error) {
	p, err := convert.OpenKnown(context.Background(), src, f.CacheDir, convert.Options{})
	if err != nil {
		return l, err
	}
	if p != nil {
		l, err = f.Of(src, p)
		return l, errors.Join(err, p.Close())
	}
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
	err = f.embedded(&l, src, layout.Profile(), hash)
	return l, err
}

// embedded adds what comes with the embedded model, nothing for others.
func (f Finder) embedded(l *Learned, src hub.Source, p config.ModelProfile, hash string) error {
	if src.Name != hub.Tiny {
		return nil
	}
	side, err := sidecar.Read(bytes.NewReader(tiny.Sidecar), int64(len(tiny.Sidecar)), "tiny.side", hash)
	if err != nil {
		return err
	}
	return l.read(side, p, f.Factors)
}

// read adds what a sidecar says and l does not know.
func (l *Learned) read(s *sidecar.Sidecar, p config.ModelProfile, factors bool) (err error) {
	if sec, ok := s.Section(predict.CalibrationSection); ok && l.Calibration == nil {
		if l.Calibration, err = predict.ReadCalibration(sec, p.Layers, p.HiddenSize, p.FFN); err != nil {
			return err
		}
		if sec, ok := s.Section(lowrank.SectionName); ok && (factors || l.Calibration.Uses(predict.KindLowRank)) {
			if l.Factors, err = lowrank.ReadSection(sec, p.Layers, p.HiddenSize, p.FFN); err != nil {
				return err
			}
		}
	}
	if p.Experts() > 0 && l.Counts == nil {
		l.Counts = readUse(s, p)
	}
	if sec, ok := s.Section(cache.CountsSection); ok && l.Counts == nil {
		units := p.FFN
		if p.Experts() > 0 {
			units = p.Units()
		}
		if l.Counts, err = cache.ReadCounts(sec, p.Layers, units); err != nil {
			return err
		}
	}
	return nil
}
