package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// How a disk is measured: some reads at a time. A deeper queue keeps no disk
// busier. Of large pieces, experts' parts and blocks of rows, fewer do.
const (
	randomDepth     = 64
	largeDepth      = 16
	largeBytes      = 128 << 10
	sequentialBytes = 1 << 20
	sequentialDepth = 4
)

// diskRates is how fast a pack can be read.
type diskRates struct {
	readBytes int64   // of a random read
	random    float64 // reads per second
	warm      float64 // the same once more at the same places: a disk's host may have a cache
	inOrder   float64 // bytes per second
}

// measureDisk measures how fast a pack can be read: bundles at random
// places, and large pieces in order. It reads as the engine does, by the same
// calls, past the page cache where that is possible.
func measureDisk(p *pack.Pack, each time.Duration) (r diskRates, err error) {
	path := p.Path()
	f, err := disk.OpenFile(p, config.IODirect)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	step := max(f.Align(), 512)
	r.readBytes = memory.AlignUp(readUnit(p.Layout), step)
	depth := randomDepth
	if r.readBytes >= largeBytes {
		depth = largeDepth
	}
	q, stop := disk.Queue(f, depth)
	defer stop()
	places := (p.Size() - r.readBytes) / step
	if places < 1 || p.Size() < sequentialBytes {
		return r, fmt.Errorf("measure %s: got a file of %d bytes, want more than a read of %d", path, p.Size(), max(r.readBytes, sequentialBytes))
	}
	for _, rate := range []*float64{&r.random, &r.warm} {
		rng := rand.New(rand.NewPCG(1, 2))
		*rate, err = readRate(q, each, r.readBytes, depth, func() int64 { return rng.Int64N(places) * step })
		if err != nil {
			return r, fmt.Errorf("measure %s: %w", path, err)
		}
	}
	at, pieces := int64(-1), p.Size()/sequentialBytes
	inOrder, err := readRate(q, each, sequentialBytes, sequentialDepth, func() int64 { at++; return at % pieces * sequentialBytes })
	if err != nil {
		return r, fmt.Errorf("measure %s: %w", path, err)
	}
	r.inOrder = inOrder * sequentialBytes
	return r, nil
}

// readRate makes reads of n bytes, depth at a time, for some time and returns how many ended
// per second.
func readRate(f disk.AsyncFile, each time.Duration, n int64, depth int, place func() int64) (perSecond float64, err error) {
	m, err := memory.New(memory.BufferBytes(int64(depth) * n))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	mem := m.Buffer(int64(depth) * n)
	s := &readSeries{file: f, place: place, each: each, begin: time.Now(), size: n, left: depth}
	for i := range depth {
		r := &timedRead{series: s}
		r.buf[0] = mem[int64(i)*n:][:n:n]
		r.Owner = r
		r.again()
	}
	for s.left > 0 {
		f.Poll(true)
	}
	return float64(s.reads) / s.took.Seconds(), s.err
}

// readSeries is one measurement.
type readSeries struct {
	file  disk.AsyncFile
	place func() int64
	size  int64
	each  time.Duration // to go on
	begin time.Time
	left  int           // reads at a time that have not stopped
	reads int           // ended in time
	took  time.Duration // until the last of them
	err   error
}

// timedRead is one of a series' reads at a time, made again and again.
type timedRead struct {
	disk.Request
	series *readSeries
	buf    [1][]byte
	one    [1]*disk.Request
}

func (r *timedRead) again() {
	r.Bufs, r.Off = r.buf[:], r.series.place()
	r.one[0] = &r.Request
	r.series.file.Submit(r.one[:])
}

// Ended counts a read and makes the next.
func (r *timedRead) Ended(n int, err error) {
	s := r.series
	if err == nil && int64(n) != s.size {
		err = fmt.Errorf("read at %d: got %d bytes, want %d", r.Off, n, s.size)
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	now := time.Since(s.begin)
	if s.err == nil && (now < s.each || s.reads == 0) {
		s.reads, s.took = s.reads+1, now
		r.again()
		return
	}
	s.left--
}
