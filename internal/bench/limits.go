package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/weights"
)

// Limits is what the machine can do, in units of 1e9 bytes per second.
type Limits struct {
	Threads   int     `json:"threads"`
	MemoryGBs float64 `json:"memory_gb_s"`         // reading memory in order, on all threads
	NeuronGBs float64 `json:"memory_neurons_gb_s"` // the first halves of all neurons, then the second
	// Random reads of single neurons, many at a time: of neurons not read
	// before in this run, and once more of the same ones. A virtual machine's
	// host may have them cached either time.
	RandomGBs     float64 `json:"disk_random_gb_s"`
	RandomIOPS    float64 `json:"disk_random_reads_s"`
	RandomWarmGBs float64 `json:"disk_random_warm_gb_s"`
	SequentialGBs float64 `json:"disk_sequential_gb_s"`     // reads of a megabyte
	ReadBytes     int64   `json:"disk_read_bytes"`          // of a random read
	Simulated     string  `json:"disk_simulated,omitempty"` // what the disk figures are of, if not of the disk
}

// How memory is measured.
const (
	memoryBytes = 512 << 20 // more than any processor's cache
	memoryTime  = 800 * time.Millisecond
)

// Measure measures the limits of memory and of the disk that p is on; of a
// simulated disk (sim is not nil) it says what that is.
func Measure(ctx context.Context, p *pack.Pack, sim *weights.SimSpec, threads int) (l Limits, err error) {
	l.Threads, l.ReadBytes = threads, p.BundleStride()
	if l.MemoryGBs, l.NeuronGBs, err = memorySpeed(ctx, p, threads); err != nil {
		return l, err
	}
	if sim != nil {
		l.Simulated = sim.String()
		l.RandomIOPS = 1 / sim.Speed().Seconds(l.ReadBytes)
		l.RandomGBs = l.RandomIOPS * float64(l.ReadBytes) / 1e9
		l.RandomWarmGBs, l.SequentialGBs = l.RandomGBs, sim.BytesPerSecond/1e9
		return l, nil
	}
	align := min(l.ReadBytes&-l.ReadBytes, 4096)
	r, err := weights.MeasureDisk(p.Path(), l.ReadBytes, align)
	l.RandomIOPS, l.RandomGBs = r.Random, r.Random*r.ReadBytes/1e9
	l.RandomWarmGBs, l.SequentialGBs = r.Warm*r.ReadBytes/1e9, r.InOrder/1e9
	return l, errors.Join(err, ctx.Err())
}

// memorySpeed is the median of several passes over memory, in order and as over
// the neurons of p, in turns.
func memorySpeed(ctx context.Context, p *pack.Pack, threads int) (inOrder, neurons float64, err error) {
	m, err := weights.NewMemory(memoryBytes)
	if err != nil {
		return 0, 0, err
	}
	b := cpu.New(kernel.Best(), threads)
	defer func() {
		b.Close()
		err = errors.Join(err, m.Close())
	}()
	all := m.Piece(memoryBytes)
	for i := 0; i < len(all); i += 4096 {
		all[i] = 1 // pages that nobody wrote to are one page
	}
	parts := slices.Collect(slices.Chunk(all, 64<<10))
	slots := device.Slots{Data: all, Stride: p.BundleStride(), DType: p.MLPDType(), Cols: p.Profile().HiddenSize, Parts: p.Profile().NeuronParts}
	ids := make([]int32, memoryBytes/slots.Stride)
	for i := range ids {
		ids[i] = int32(i)
	}
	perPass := 2 * int64(len(ids)) * slots.DType.RowBytes(slots.Cols)
	var ordered, apart []Rate
	for begin := time.Now(); len(apart) == 0 || time.Since(begin) < memoryTime && ctx.Err() == nil; {
		pass := time.Now()
		b.Load(parts)
		ordered = append(ordered, Rate{memoryBytes, time.Since(pass).Seconds()})
		pass = time.Now()
		b.LoadUp(slots, ids)
		b.LoadDown(slots, ids)
		apart = append(apart, Rate{perPass, time.Since(pass).Seconds()})
	}
	return median(ordered).PerSecond() / 1e9, median(apart).PerSecond() / 1e9, ctx.Err()
}
