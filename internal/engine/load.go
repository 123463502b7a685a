package engine

import (
	"context"
	"errors"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/model"
	"github.com/sparseflow/sparseflow/internal/placement"
	"github.com/sparseflow/sparseflow/internal/predict"
	"github.com/sparseflow/sparseflow/internal/transfer"
)

// load opens what is read, finds room, wires the parts and reads what is resident,
// or begins to.
func (m *loaded) load(ctx context.Context, o Options) error {
	if err := m.open(o); err != nil {
		return err
	}
	m.ec = model.NewExecutionContext(m.profile, m.place.Chunk, m.memory)
	m.ec.Observe, m.ec.ObserveInput = o.Observe, o.ObserveInput
	r := m.room()
	m.loading = newLoading(o, m.place, m.store, m.memory, r.stream)
	weights, err := m.loading.loader.Weights()
	if err != nil {
		return err
	}
	predictor, err := m.predictor(ctx, o, weights, r.slots)
	if err != nil {
		return err
	}
	m.loading.prepare(m.place, r.slots)
	coordinator, err := m.coordinator(o, predictor, r)
	if err != nil {
		return err
	}
	m.model = model.New(model.Parts{
		Profile:     m.profile,
		Weights:     weights,
		Backend:     m.backend,
		KV:          kv.New(placement.KVShape(m.profile, o.Strategy.KV), r.kv),
		Coordinator: coordinator,
		Store:       m.store,
		Stream:      disk.NewBlockReader(m.transfer, r.stream), // once the loader is done with the memory
		RowBuffer:   r.row,
		Loaded:      m.waitForLayer,
		Ready:       m.ready,
	})
	m.loading.warm(coordinator)
	if o.Fill {
		m.fill = newFiller(o, m, coordinator)
	}
	if o.Early && m.transfer.Async() && m.place.Streamed == 0 {
		m.loading.start()
		return nil
	}
	return m.loading.read(ctx)
}

// open opens the pack's file and takes the memory that the placement says.
func (m *loaded) open(o Options) error {
	f, err := o.file(m.pack)
	if err != nil {
		return err
	}
	if m.store, err = disk.NewDiskWeightStore(m.pack, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if m.memory, err = memory.New(m.place.MemoryBytes); err != nil {
		return err
	}
	m.backend = &meter{Backend: o.backend(m.place.Threads), reads: o.Reads}
	m.transfer = o.transfer(m.store)
	return nil
}

// room is the memory of the parts, apart from the execution context's, the
// weights' and the predictors'.
type room struct {
	kv     []byte
	row    []byte       // for a row of a table that is not resident
	stream [][]byte     // for blocks on their way
	gaps   []byte       // for what lies between neurons that are read together
	slots  device.Slots // of all layers, then the staging slots
}

// room finds it.
func (m *loaded) room() (r room) {
	r.kv = m.memory.Piece(m.place.KVBytes)
	r.row = m.memory.Buffer(m.place.BlockBytes)
	for range m.place.BlockSlots {
		r.stream = append(r.stream, m.memory.Buffer(m.place.BlockBytes))
	}
	stride := m.pack.BundleStride()
	r.gaps = m.memory.Buffer(disk.GapBytes(stride))
	bytes := int64(m.place.RingSlots) * m.place.RingBytes
	for layer, n := range m.place.Slots {
		bytes += int64(n) * m.place.SlotBytes[layer]
	}
	r.slots = device.Slots{
		Data:   m.memory.Buffer(bytes),
		Stride: stride,
		DType:  m.pack.MLPDType(),
		Cols:   m.profile.HiddenSize,
		Parts:  m.profile.NeuronParts,
	}
	return r
}

// coordinator gets neurons into the room's slots.
func (m *loaded) coordinator(o Options, p predictor, r room) (*transfer.TransferCoordinator, error) {
	policy, err := o.policy(m.profile.Units())
	if err != nil {
		return nil, err
	}
	m.cache = cache.NewWeightCache(m.profile.Units(), m.place.Slots, policy)
	mem := transfer.Memory{
		Cache:       m.cache,
		Slots:       r.slots,
		Staging:     m.place.RingSlots,
		Activations: m.ec.Hidden(),
		Reorder:     m.backend.SplitParts,
	}
	if m.profile.Experts() > 0 {
		mem.Strides, mem.StagingStride = m.place.SlotBytes, m.place.RingBytes
	}
	return transfer.NewTransferCoordinator(transfer.Options{
		Units:   m.profile.Units(),
		Overlap: m.backend.Overlap,
		Memory:  mem,
		Policy: transfer.Policy{
			Modes:     layerModes(m.place),
			Predictor: p,
			Selection: predict.Selection{Multiple: p.multiple},
			Scores:    m.ec.Scores(),
		},
		Reader: transfer.Reader{
			Transfer: m.transfer,
			Places:   m.store.Places(),
			Join:     o.diskSpeed().Joins,
			Gaps:     r.gaps,
		},
	}), nil
}
