package engine

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
)

// loaded is a model in memory: what lives where, and the parts that compute it.
type loaded struct {
	pack     *pack.Pack
	profile  config.ModelProfile
	place    *placement.Placement
	point    *predict.Point // of the calibration, nil without one
	memory   *memory.Memory
	store    *disk.DiskWeightStore
	transfer *disk.AsyncWeightTransfer
	backend  *meter
	cache    *cache.WeightCache
	model    *model.Model
	ec       *model.ExecutionContext
	loading  *loading
	fill     *filler // nil where nothing is filled
}

// waitForLayer waits for what is being read into a layer, or into model.Shared.
func (m *loaded) waitForLayer(ctx context.Context, layer int) error {
	m.fill.before(layer, m.ec.Decode)
	return m.loading.wait(ctx, layer)
}

// ready reports whether nothing is being read into a layer.
func (m *loaded) ready(layer int) bool { return !m.fill.fills(layer) && m.loading.ready(layer) }

// close releases whatever there is of the model.
func (m *loaded) close() error {
	var errs []error
	m.loading.close()
	m.fill.close()
	if m.model != nil {
		m.model.Coordinator.Close()
	}
	if m.transfer != nil {
		m.transfer.Close()
	}
	if m.backend != nil {
		m.backend.Close()
	}
	if m.store != nil {
		errs = append(errs, m.store.Close())
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Close())
	}
	return errors.Join(append(errs, m.pack.Close())...)
}
