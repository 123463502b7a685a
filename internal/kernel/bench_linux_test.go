package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	poolBytes = 1 << 30 // beyond any last-level cache
	// sliceBytes is what one measurement reads: far less than a time slice of
	// the scheduler, so that the median is of undisturbed ones.
	sliceBytes = 4 << 20
	rowElems   = 4096 // 8 KiB of float16, 16 KiB of float32
)

// pool returns the weights of every benchmark, on huge pages where the system
// gives them: plausible float16 and float32 values, none subnormal.
func pool(b *testing.B) []byte {
	p, err := unix.Mmap(-1, 0, poolBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatalf("kernel: map %d bytes: %v", poolBytes, err)
	}
	b.Cleanup(func() { unix.Munmap(p) })
	if err := unix.Madvise(p, unix.MADV_HUGEPAGE); err != nil {
		b.Logf("kernel: no huge pages: %v", err)
	}
	for i, w := 0, view[uint32](p); i < len(w); i++ {
		w[i] = 0x3c003c00 + uint32(i%977)
	}
	return p
}

func view[T any](p []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(&p[0])), len(p)/int(unsafe.Sizeof(*new(T))))
}

// stream is a kernel over rows of the pool: run reads the rows named by at, in
// order.
type stream struct {
	name     string
	rowBytes int
	run      func(p []byte, at []int)
}

// walk calls one for each row with its successor, nil after the last.
func walk[T any](p []byte, at []int, one func(w []T, next *T)) {
	all := view[T](p)
	for i, r := range at {
		var next *T
		if i+1 < len(at) {
			next = &all[at[i+1]*rowElems]
		}
		one(all[r*rowElems:(r+1)*rowElems], next)
	}
}

func streams(s Set) []stream {
	x, y := make([]float32, 4*rowElems), make([]float32, rowElems)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	s8 := make([]int8, rowElems)
	for i := range s8 {
		s8[i] = int8(i%251 - 125)
	}
	var sink float32
	// A row is a run of keys or values of an OPT-6.7B head.
	const headDim, keys = 128, rowElems / 128
	at, q := s.Attention, x[:headDim]
	return []stream{
		{"ScoresF32", 4 * rowElems, func(p []byte, rows []int) {
			walk(p, rows, func(w []float32, next *float32) { at.ScoresF32(y[:keys], q, w, next) })
		}},
		{"ScoresF16", 2 * rowElems, func(p []byte, rows []int) {
			walk(p, rows, func(w []uint16, next *uint16) { at.ScoresF16(y[:keys], q, w, next) })
		}},
		{"ScoresQ8", q8Bytes * rowElems / 32, func(p []byte, rows []int) {
			for _, r := range rows {
				at.ScoresQ8(y[:keys], q, p[r*q8Bytes*rowElems/32:][:q8Bytes*rowElems/32], nil)
			}
		}},
		{"ValuesF32", 4 * rowElems, func(p []byte, rows []int) {
			walk(p, rows, func(w []float32, next *float32) { at.ValuesF32(y[:headDim], 0.5, x[:keys], w, next) })
		}},
		{"ValuesF16", 2 * rowElems, func(p []byte, rows []int) {
			walk(p, rows, func(w []uint16, next *uint16) { at.ValuesF16(y[:headDim], 0.5, x[:keys], w, next) })
		}},
		{"ValuesQ8", q8Bytes * rowElems / 32, func(p []byte, rows []int) {
			for _, r := range rows {
				at.ValuesQ8(y[:headDim], 0.5, x[:keys], p[r*q8Bytes*rowElems/32:][:q8Bytes*rowElems/32], nil)
			}
		}},
		{"DotF32", 4 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []float32, next *float32) { sink += s.DotF32(w, x, next) })
		}},
		{"DotF16", 2 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []uint16, next *uint16) { sink += s.DotF16(w, x, next) })
		}},
		{"DotBF16", 2 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []uint16, next *uint16) { sink += s.DotBF16(w, x, next) })
		}},
		{"Dot4F32", 4 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []float32, next *float32) { sink += s.Dot4F32(w, x, rowElems, next)[3] })
		}},
		{"Dot4F16", 2 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []uint16, next *uint16) { sink += s.Dot4F16(w, x, rowElems, next)[3] })
		}},
		{"AxpyF32", 4 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []float32, next *float32) { s.AxpyF32(y, 1e-3, w, next) })
		}},
		{"AxpyF16", 2 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []uint16, next *uint16) { s.AxpyF16(y, 1e-3, w, next) })
		}},
		{"AxpyBF16", 2 * rowElems, func(p []byte, at []int) {
			walk(p, at, func(w []uint16, next *uint16) { s.AxpyBF16(y, 1e-3, w, next) })
		}},
		{"DotU4S8", rowElems / 2, func(p []byte, at []int) {
			for _, r := range at {
				sink += float32(s.DotU4S8(p[r*rowElems/2:][:rowElems/2], s8))
			}
		}},
	}
}

// BenchmarkStream measures each streaming kernel in turn with Load over the
// same pages, so that noise on the machine meets both, and reports the median
// of their ratio as share-of-limit. One thread; "dense" reads one row after
// the other, "sparse" a sorted tenth of all rows, which Load alone reads at
// 11 to 14 GB/s where its limit is 33 (EPYC 9004). Each set is checked against
// plain Go first.
func BenchmarkStream(b *testing.B) {
	p, arenas := pool(b), newArenas(b, rowElems)
	in := random(rand.New(rand.NewPCG(1, 2)), rowElems, rowElems, 0)
	want := compute(b, Go(), in, arenas, 0, false)
	for _, s := range All()[min(1, len(All())-1):] {
		report(b, s.Name, rowElems, compute(b, s, in, arenas, 0, false), want)
		for _, k := range append(streams(s), quantStreams(s)...) {
			for _, order := range []string{"dense", "sparse"} {
				if order == "sparse" && (k.name == "DotU4S8" || strings.HasPrefix(k.name, "Scores") || strings.HasPrefix(k.name, "Values")) {
					continue // a sketch and a cache are always read whole
				}
				b.Run(fmt.Sprintf("%s/%s/%s", k.name, order, s.Name), func(b *testing.B) {
					compareWithLoad(b, p, k, order == "sparse", Best().Load)
				})
			}
		}
	}
}

func compareWithLoad(b *testing.B, p []byte, k stream, sparse bool, load func([]byte) uint64) {
	rng := rand.New(rand.NewPCG(1, 2))
	var limits, rates, shares []float64
	var at []int
	var sink uint64
	window := sliceBytes // where the slice's rows lie
	if sparse {
		window *= 10
	}
	for i := 0; b.Loop(); i++ {
		first := i % (poolBytes / window) * window / k.rowBytes
		at = at[:0]
		for r := first; r < first+window/k.rowBytes; r++ {
			if !sparse || rng.IntN(10) == 0 {
				at = append(at, r)
			}
		}
		probe := p[(i*sliceBytes+poolBytes/2)%poolBytes:][:sliceBytes]
		start := time.Now()
		sink += load(probe)
		limit := sliceBytes / time.Since(start).Seconds() / 1e9
		start = time.Now()
		k.run(p, at)
		rate := float64(len(at)*k.rowBytes) / time.Since(start).Seconds() / 1e9
		limits, rates, shares = append(limits, limit), append(rates, rate), append(shares, rate/limit)
	}
	_ = sink
	for _, v := range [][]float64{limits, rates, shares} {
		slices.Sort(v)
	}
	mid := len(shares) / 2
	b.ReportMetric(rates[mid], "GB/s")
	b.ReportMetric(limits[mid], "limit-GB/s")
	b.ReportMetric(shares[mid], "share-of-limit")
}
