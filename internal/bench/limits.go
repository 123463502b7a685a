package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/weights"
)

// Limits is what the machine can do, in units of 1e9 bytes per second.
type Limits struct {
	Threads   int     `json:"threads"`
	MemoryGBs float64 `json:"memory_gb_s"` // reading memory in order, on all threads
	// Random reads of single neurons, many at a time: of neurons not read
	// before in this run, and once more of the same ones. A virtual machine's
	// host may have them cached either time.
	RandomGBs     float64 `json:"disk_random_gb_s"`
	RandomIOPS    float64 `json:"disk_random_reads_s"`
	RandomWarmGBs float64 `json:"disk_random_warm_gb_s"`
	SequentialGBs float64 `json:"disk_sequential_gb_s"` // reads of a megabyte
	ReadBytes     int64   `json:"disk_read_bytes"`      // of a random read
	Direct        bool    `json:"disk_direct"`          // past the page cache
}

// How limits are measured.
const (
	memoryBytes = 512 << 20           // more than any processor's cache
	limitTime   = 2 * time.Second / 3 // of each measurement
	diskDepth   = 32                  // reads at a time
	bigRead     = 1 << 20
	bigDepth    = 4
)

// Measure measures the limits of memory and of the disk that p is on.
func Measure(ctx context.Context, p *pack.Pack, io config.IOMode, threads int) (l Limits, err error) {
	l.Threads, l.ReadBytes = threads, p.BundleStride()
	if l.MemoryGBs, err = memorySpeed(ctx, threads); err != nil {
		return l, err
	}
	f, err := weights.OpenFile(p, io)
	if err != nil {
		return l, err
	}
	d := disk{f: f, first: p.BundleOffset(0, 0), bytes: p.Profile().Neurons() * p.BundleStride()}
	l.Direct = f.Align() > 1
	err = d.measure(ctx, &l)
	return l, errors.Join(err, f.Close())
}

// memorySpeed is the best of several passes, which no kernel can beat.
func memorySpeed(ctx context.Context, threads int) (gbs float64, err error) {
	m, err := weights.NewMemory(memoryBytes)
	if err != nil {
		return 0, err
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
	for begin := time.Now(); time.Since(begin) < limitTime && ctx.Err() == nil; {
		pass := time.Now()
		b.Load(parts)
		gbs = max(gbs, memoryBytes/1e9/time.Since(pass).Seconds())
	}
	return gbs, ctx.Err()
}

// disk is the bundles of a pack.
type disk struct {
	f     weights.File
	first int64 // offset
	bytes int64
}

func (d disk) measure(ctx context.Context, l *Limits) error {
	// Each bundle once, in no order.
	order := rand.New(rand.NewPCG(3, 4)).Perm(int(d.bytes / l.ReadBytes))
	at := func(i int) int64 { return int64(order[i]) * l.ReadBytes }
	cold, err := d.read(ctx, diskDepth, len(order), l.ReadBytes, at)
	if err != nil {
		return err
	}
	warm, err := d.read(ctx, diskDepth, int(cold.Bytes/l.ReadBytes), l.ReadBytes, at)
	if err != nil {
		return err
	}
	size := min(bigRead/l.ReadBytes, d.bytes/l.ReadBytes) * l.ReadBytes
	size = max(size, l.ReadBytes)
	sequential, err := d.read(ctx, bigDepth, int(d.bytes/size), size, func(i int) int64 { return int64(i) * size })
	if err != nil {
		return err
	}
	l.RandomGBs, l.RandomWarmGBs, l.SequentialGBs = cold.PerSecond()/1e9, warm.PerSecond()/1e9, sequential.PerSecond()/1e9
	l.RandomIOPS = cold.PerSecond() / float64(l.ReadBytes)
	return nil
}

// read reads count times size bytes, the i-th at offset at(i) of the bundles,
// depth reads at a time, until the time is up.
func (d disk) read(ctx context.Context, depth, count int, size int64, at func(i int) int64) (Rate, error) {
	m, err := weights.NewMemory(int64(depth) * weights.BufferBytes(size))
	if err != nil {
		return Rate{}, err
	}
	var next, done atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, depth)
	begin := time.Now()
	for w := range depth {
		buf := [][]byte{m.Buffer(size)}
		wait.Go(func() {
			for errs[w] == nil && ctx.Err() == nil && time.Since(begin) < limitTime {
				i := int(next.Add(1) - 1)
				if i >= count {
					return
				}
				if _, err := d.f.ReadVec(buf, d.first+at(i)); err != nil {
					errs[w] = fmt.Errorf("bench: measure the disk: %w", err)
				}
				done.Add(size)
			}
		})
	}
	wait.Wait()
	took := time.Since(begin).Seconds()
	return Rate{done.Load(), took}, errors.Join(errors.Join(errs...), ctx.Err(), m.Close())
}
