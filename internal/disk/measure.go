package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// How a disk is measured: some reads at a time, for some time. The depth is
// what a disk of that kind needs to be kept busy; more gave nothing.
const (
	measureTime     = 400 * time.Millisecond // each of random and in order
	randomDepth     = 64
	sequentialBytes = 1 << 20
	sequentialDepth = 4
)

// DiskRates is how fast a file can be read.
type DiskRates struct {
	ReadBytes float64 // of a random read
	Random    float64 // reads per second
	Warm      float64 // the same once more at the same places: a disk's host may have a cache
	InOrder   float64 // bytes per second
}

// MeasureDisk measures how fast the file at path can be read: bundles of
// bundleBytes at random multiples of alignment, and large pieces in order. It
// reads as a store does, by the same calls, past the page cache where that is
// possible, and takes somewhat over a second.
func MeasureDisk(path string, bundleBytes, alignment int64) (r DiskRates, err error) {
	if alignment < 1 || alignment&(alignment-1) != 0 || bundleBytes < 1 || bundleBytes > 1<<30 {
		return r, fmt.Errorf("disk: measure %s: got reads of %d bytes at multiples of %d, want 1 to %d bytes at a power of two", path, bundleBytes, alignment, 1<<30)
	}
	f, err := openMeasured(path, max(alignment, 512))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return r, fmt.Errorf("disk: measure: %w", err)
	}
	queue, ok := f.(AsyncFile)
	if !ok {
		pool := newReadPool(f, randomDepth)
		defer pool.stop()
		queue = pool
	}
	step := max(alignment, 512)
	n := memory.AlignUp(bundleBytes, step)
	places := (st.Size() - n) / step
	if places < 1 || st.Size() < sequentialBytes {
		return r, fmt.Errorf("disk: measure %s: got a file of %d bytes, want more than a read of %d", path, st.Size(), max(n, sequentialBytes))
	}
	r.ReadBytes = float64(n)
	for _, rate := range []*float64{&r.Random, &r.Warm} {
		rng := rand.New(rand.NewPCG(1, 2))
		*rate, err = measure(queue, n, randomDepth, func() int64 { return rng.Int64N(places) * step })
		if err != nil {
			return r, fmt.Errorf("disk: measure %s: %w", path, err)
		}
	}
	at, pieces := int64(-1), st.Size()/sequentialBytes
	inOrder, err := measure(queue, sequentialBytes, sequentialDepth, func() int64 { at++; return at % pieces * sequentialBytes })
	if err != nil {
		return r, fmt.Errorf("disk: measure %s: %w", path, err)
	}
	r.InOrder = inOrder * sequentialBytes
	return r, nil
}

// openMeasured opens a file as OpenFile does a pack's.
func openMeasured(path string, align int64) (File, error) {
	if f, ok := openDirect(path, min(align, memory.PageAlign)); ok {
		return withRing(f), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: measure: %w", err)
	}
	noReadahead(f)
	return &bufferedFile{f}, nil
}

// measure makes reads of n bytes, depth at a time, and returns how many ended
// per second.
func measure(f AsyncFile, n int64, depth int, place func() int64) (perSecond float64, err error) {
	m, err := memory.New(memory.BufferBytes(int64(depth) * n))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	mem := m.Buffer(int64(depth) * n)
	p := &probe{file: f, place: place, begin: time.Now(), size: n, left: depth}
	for i := range depth {
		r := &probeRead{probe: p}
		r.buf[0] = mem[int64(i)*n:][:n:n]
		r.Owner = r
		r.again()
	}
	for p.left > 0 {
		f.Poll(true)
	}
	return float64(p.reads) / p.took.Seconds(), p.err
}

// probe is one measurement.
type probe struct {
	file  AsyncFile
	place func() int64
	size  int64
	begin time.Time
	left  int           // reads at a time that have not stopped
	reads int           // ended in time
	took  time.Duration // until the last of them
	err   error
}

// probeRead is one of a probe's reads at a time, made again and again.
type probeRead struct {
	Request
	probe *probe
	buf   [1][]byte
	one   [1]*Request
}

func (r *probeRead) again() {
	r.Bufs, r.Off = r.buf[:], r.probe.place()
	r.one[0] = &r.Request
	r.probe.file.Submit(r.one[:])
}

// Ended counts a read and makes the next.
func (r *probeRead) Ended(n int, err error) {
	p := r.probe
	if err == nil && int64(n) != p.size {
		err = fmt.Errorf("read at %d: got %d bytes, want %d", r.Off, n, p.size)
	}
	if err != nil && p.err == nil {
		p.err = err
	}
	now := time.Since(p.begin)
	if p.err == nil && (now < measureTime || p.reads == 0) {
		p.reads, p.took = p.reads+1, now
		r.again()
		return
	}
	p.left--
}
