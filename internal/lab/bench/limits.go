package bench

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/placement"
)

// Limits is what the machine can do, in units of 1e9 bytes per second.
type Limits struct {
	Threads   int     `json:"threads"`
	MemoryGBs float64 `json:"memory_gb_s"` // reading memory in order, on all threads
	// What the kernels multiply of weights of the model's shape and element
	// types: rows of matrices, neurons that lie apart, and whole layers; of a mixture
	// of experts a token's experts in place of either.
	RowsGBs     float64 `json:"rows_gb_s"`
	NeuronsGBs  float64 `json:"neurons_gb_s"`
	CompleteGBs float64 `json:"complete_layers_gb_s"`
	// Random reads of single neurons or parts of experts, many at a time: of those not read
	// before in this run, and once more of the same ones. A virtual machine's
	// host may have them cached either time.
	RandomGBs     float64 `json:"disk_random_gb_s"`
	RandomIOPS    float64 `json:"disk_random_reads_s"`
	RandomWarmGBs float64 `json:"disk_random_warm_gb_s"`
	SequentialGBs float64 `json:"disk_sequential_gb_s"`     // reads of a megabyte
	ReadBytes     int64   `json:"disk_read_bytes"`          // of a random read
	Experts       bool    `json:"experts,omitempty"`        // what neurons_gb_s is of
	Simulated     string  `json:"disk_simulated,omitempty"` // what the disk figures are of, if not of the disk
}

// Rates are the limits by which a plan estimates a token's time.
func (l *Limits) Rates() placement.Rates {
	return placement.Rates{Rows: 1e9 * l.RowsGBs, Neurons: 1e9 * l.NeuronsGBs, Complete: 1e9 * l.CompleteGBs,
		Random: 1e9 * l.RandomGBs, InOrder: 1e9 * l.SequentialGBs, Layer: placement.LayerSeconds}
}

// How memory is measured: over as much as the weights take, but more than common
// processors cache, and less than makes a start long; three passes or more.
const (
	leastMemory = 256 << 20
	mostMemory  = 2 << 30
)

// measureTime is how long each of memory, random reads, the same once more, and
// reads in order is measured.
const measureTime = 500 * time.Millisecond

// Measure measures the limits of memory, with weights as p has them, and of the
// disk that p's files are on; of a simulated disk (sim is not nil) it says what that
// is.
func Measure(ctx context.Context, p *pack.Pack, sim *disk.SimSpec, threads int) (Limits, error) {
	size := min(max(p.WeightBytes(), leastMemory), mostMemory)
	if free := placement.FreeBytes(os.DirFS("/")); free > 0 {
		size = min(size, free/2)
	}
	return measure(ctx, p, sim, threads, size, measureTime)
}

// measure is Measure with memory of a given size, each for a given time.
func measure(ctx context.Context, p *pack.Pack, sim *disk.SimSpec, threads int, size int64, each time.Duration) (l Limits, err error) {
	l.Threads, l.ReadBytes, l.Experts = threads, readUnit(p.Layout), p.Profile().Experts() > 0
	if err = l.measureMemory(ctx, p.Layout, threads, size, each); err != nil {
		return l, err
	}
	if sim != nil {
		l.Simulated = sim.String()
		l.RandomIOPS = 1 / sim.Speed().Seconds(l.ReadBytes)
		l.RandomGBs = l.RandomIOPS * float64(l.ReadBytes) / 1e9
		l.RandomWarmGBs, l.SequentialGBs = l.RandomGBs, sim.BytesPerSecond/1e9
		return l, nil
	}
	r, err := measureDisk(p, each)
	bytes := float64(r.readBytes)
	l.RandomIOPS, l.RandomGBs = r.random, r.random*bytes/1e9
	l.RandomWarmGBs, l.SequentialGBs = r.warm*bytes/1e9, r.inOrder/1e9
	return l, errors.Join(err, ctx.Err())
}

// readUnit is what is read at a random place: a neuron, the largest part of an expert
// or, where all are needed, a block of rows.
func readUnit(l *pack.Layout) int64 {
	if l.Bundles() > 0 {
		return l.BundleStride()
	}
	most := int64(0)
	for layer := range l.Profile().Layers {
		for _, x := range l.ExpertParts(layer) {
			most = max(most, x.Bytes())
		}
	}
	if most > 0 {
		return most
	}
	for _, t := range l.Tensors() {
		if t.Kind == pack.Matrix {
			most = max(most, int64(min(t.BlockRows, t.Rows))*t.RowBytes)
		}
	}
	return most
}

// measureMemory sets each speed to the median of several passes, in turns.
func (l *Limits) measureMemory(ctx context.Context, layout *pack.Layout, threads int, size int64, each time.Duration) (err error) {
	size = max(size, 2*layout.BundleStride()+partBytes) &^ (partBytes - 1)
	m, err := memory.New(size)
	if err != nil {
		return err
	}
	b := cpu.New(kernel.Best(), threads)
	defer func() {
		b.Close()
		err = errors.Join(err, m.Close())
	}()
	passes := newPasses(b, m.Piece(size), layout, threads)
	var rates [4][]Rate
	for begin := time.Now(); ctx.Err() == nil && (len(rates[0]) < 3 || time.Since(begin) < each); {
		for i, pass := range []func() int64{passes.load, passes.rows, passes.neurons, passes.complete} {
			begin := time.Now()
			rates[i] = append(rates[i], Rate{pass(), time.Since(begin).Seconds()})
		}
	}
	for i, gbs := range []*float64{&l.MemoryGBs, &l.RowsGBs, &l.NeuronsGBs, &l.CompleteGBs} {
		*gbs = median(rates[i]).PerSecond() / 1e9
	}
	return ctx.Err()
}
