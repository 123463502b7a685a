package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/tensor"
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
	whole    bool // a sketch and a cache are always read whole
	run      func(p []byte, at []int)
}

// aheadBytes is how far ahead of a row the next one is prefetched.
const aheadBytes = 8192

// streams are the kernels of s that read rows of memory. The pool's values are
// positive float16, so any of them serves as a scale.
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
	var all []stream
	// over adds a kernel that takes one row of rowBytes after the other.
	over := func(name string, rowBytes int, whole bool, one func(w []byte, next *byte)) {
		rows := (aheadBytes + rowBytes - 1) / rowBytes
		all = append(all, stream{name, rowBytes, whole, func(p []byte, at []int) {
			for i, r := range at {
				var next *byte
				if i+rows < len(at) {
					next = &p[at[i+rows]*rowBytes]
				}
				one(p[r*rowBytes:(r+1)*rowBytes], next)
			}
		}})
	}
	for _, dt := range rowTypes {
		k, size := dt.of(&s), int(dt.RowBytes(rowElems))
		in, stride := inputs(dt, x, 4, rowElems, 0)
		over("Dot"+dt.String(), size, false, func(w []byte, next *byte) { sink += k.Dot(w, in, next) })
		over("Dot4"+dt.String(), size, false, func(w []byte, next *byte) { sink += k.Dot4(w, in, stride, next)[3] })
		over("Axpy"+dt.String(), size, false, func(w []byte, next *byte) { k.Axpy(y, 1e-3, w, next) })
	}
	for _, dt := range blockTypes {
		k, size := dt.of(&s), int(dt.RowBytes(rowElems))
		in, stride := inputs(dt, x, 4, rowElems, 0)
		over("Dot"+dt.String(), size, false, func(w []byte, next *byte) { sink += k.Dot(w, in, next) })
		over("Dot4"+dt.String(), size, false, func(w []byte, next *byte) { sink += k.Dot4(w, in, stride, next)[3] })
	}
	for _, dt := range slices.Concat(rowTypes, blockTypes) {
		k, size := dt.of(&s), int(dt.RowBytes(rowElems))
		in, _ := inputs(dt, x, 1, rowElems, 0)
		out := make([]float32, sliceBytes/size)
		all = append(all, stream{"MatVec" + dt.String(), size, true, func(p []byte, at []int) {
			k.MatVec(out[:len(at)], p[at[0]*size:][:len(at)*size], size, in, s.Ahead)
		}})
	}
	over("DotU4S8", rowElems/2, true, func(w []byte, _ *byte) { sink += float32(s.DotU4S8(w, s8)) })
	over("DotU3S8", Sketch3Bytes(rowElems), true, func(w []byte, _ *byte) { sink += float32(s.DotU3S8(w, s8)) })
	// A row is a run of keys or values of an OPT-6.7B head.
	const headDim, keys = 128, rowElems / 128
	at, q := s.Attention, x[:headDim]
	over("ScoresF32", 4*rowElems, true, func(w []byte, _ *byte) { at.F32.Scores(y[:keys], q, w, nil) })
	over("ScoresF16", 2*rowElems, true, func(w []byte, _ *byte) { at.F16.Scores(y[:keys], q, w, nil) })
	over("ScoresQ8", q8Bytes*rowElems/32, true, func(w []byte, _ *byte) { at.Q8.Scores(y[:keys], q, w, nil) })
	over("ValuesF32", 4*rowElems, true, func(w []byte, _ *byte) { at.F32.Values(y[:headDim], 0.5, x[:keys], w, nil) })
	over("ValuesF16", 2*rowElems, true, func(w []byte, _ *byte) { at.F16.Values(y[:headDim], 0.5, x[:keys], w, nil) })
	over("ValuesQ8", q8Bytes*rowElems/32, true, func(w []byte, _ *byte) { at.Q8.Values(y[:headDim], 0.5, x[:keys], w, nil) })
	return all
}

// BenchmarkStream measures each streaming kernel in turn with Load over the
// same pages, so that noise on the machine meets both, and reports the median
// of their ratio as share-of-limit. One thread; "dense" reads one row after
// the other, "sparse" a sorted tenth of all rows. TestTwins checks what is timed.
func BenchmarkStream(b *testing.B) {
	p := pool(b)
	for _, s := range All()[min(1, len(All())-1):] {
		for _, k := range streams(s) {
			for _, order := range []string{"dense", "sparse"} {
				if order == "sparse" && k.whole {
					continue
				}
				b.Run(fmt.Sprintf("%s/%s/%s", k.name, order, s.Name), func(b *testing.B) {
					compareWithLoad(b, p, k, order == "sparse", Best().Load)
				})
			}
		}
	}
}

func compareWithLoad(b *testing.B, p []byte, k stream, sparse bool, load func([]byte, *byte) uint64) {
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
		sink += load(probe, nil)
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

// BenchmarkCached is the products of rows that stay in a core's cache, in GB/s of
// weights: what arithmetic allows.
func BenchmarkCached(b *testing.B) {
	const rows, n = 16, 4096
	for _, s := range All()[1:] {
		for _, dt := range slices.Concat(rowTypes, blockTypes) {
			src := newSource(1, 0)
			k, w, size := dt.of(&s), src.weights(dt.DType, rows*n), int(dt.RowBytes(n))
			in, stride := inputs(dt, src.floats(4*n), 4, n, 0)
			y := make([]float32, rows)
			b.Run(fmt.Sprintf("%v/%s", dt, s.Name), func(b *testing.B) {
				fastest(b, len(w), func() { k.MatVec(y, w, size, in, s.Ahead) })
			})
			if k.Fine != nil {
				b.Run(fmt.Sprintf("%v/fine/%s", dt, s.Name), func(b *testing.B) {
					fastest(b, len(w), func() { k.Fine(y, w, size, in, stride, s.Ahead) })
				})
			}
			b.Run(fmt.Sprintf("%v/four/%s", dt, s.Name), func(b *testing.B) {
				fastest(b, len(w), func() {
					for r := range rows {
						k.Dot4(w[r*size:][:size], in, stride, nil)
					}
				})
			})
		}
	}
}

// fastest reports the rate of the fastest call of f, which takes n bytes: calls
// that others' work interrupts do not count.
func fastest(b *testing.B, n int, f func()) {
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(n)/best.Seconds()/1e9, "GB/s")
}

// BenchmarkTile is tiles of n elements over weights that stay in a core's cache
// while tokens pass by, laying these out included.
func BenchmarkTile(b *testing.B) {
	const rows, tokens, n = 64, 96, 2048
	for _, s := range All()[1:] {
		for _, dt := range rowTypes {
			b.Run(fmt.Sprintf("%v/%s", dt, s.Name), func(b *testing.B) {
				src := newSource(1, 0)
				w, x := src.weights(dt.DType, rows*n), src.floats(tokens*n)
				in, stride := inputs(dt, x, tokens, n, 0)
				for b.Loop() {
					if dt.Quantised() {
						quantTiles(&s, dt, w, in, stride, rows, tokens, n)
					} else {
						floatTiles(&s, dt, w, x, rows, tokens, n)
					}
				}
				b.ReportMetric(2*rows*tokens*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// BenchmarkGemm is panels of n elements with tokens, laying them out included.
func BenchmarkGemm(b *testing.B) {
	const rows, tokens, n = 64, 96, 2048
	for _, s := range All()[1:] {
		for _, dt := range blockTypes {
			g := dt.of(&s).Gemm
			if g == nil {
				continue
			}
			b.Run(fmt.Sprintf("%v/%s", dt, s.Name), func(b *testing.B) {
				src, rowBytes := newSource(1, 0), int(dt.RowBytes(n))
				w := src.weights(dt.DType, rows*n)
				in, stride := inputs(dt, src.floats(tokens*n), tokens, n, 0)
				space, panels := &GemmSpace{}, [2][]byte{make([]byte, PanelBytes(n)), make([]byte, PanelBytes(n))}
				var at [PanelRows][]byte
				best := time.Duration(math.MaxInt64)
				for b.Loop() {
					for r := 0; r < rows; r += GemmRows {
						start := time.Now()
						for p := range panels {
							for i := range at {
								at[i] = w[(r+p*PanelRows+i)*rowBytes:][:rowBytes]
							}
							g.Panel(panels[p], &at, space)
						}
						for t := 0; t < tokens; t += GemmTokens {
							g.Multiply(panels, n, in[t*stride:], stride, space)
						}
						best = min(best, time.Since(start))
					}
				}
				b.ReportMetric(2*GemmRows*tokens*float64(n)/best.Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

func quantTiles(s *Set, dt rowType, w, in []byte, stride, rows, tokens, n int) {
	k, size := dt.of(s), WideBytes(n)
	wide, rowBytes := make([]byte, rows*size), int(dt.RowBytes(n))
	for r := range rows {
		k.Widen(wide[r*size:][:size], w[r*rowBytes:][:rowBytes], nil)
	}
	var out [QuantRows * QuantTokens]float32
	var at [QuantRows][]byte
	for r := 0; r < rows; r += QuantRows {
		for i := range at {
			at[i] = wide[(r+i)*size:][:size]
		}
		for t := 0; t < tokens; t += QuantTokens {
			k.Tile(&out, &at, in[t*stride:], stride, QuantTokens)
		}
	}
}

func floatTiles(s *Set, dt rowType, w []byte, x []float32, rows, tokens, n int) {
	wide, panel := make([]float32, rows*n), make([]float32, TileTokens*n)
	switch dt.DType {
	case tensor.F16:
		s.DecodeF16(wide, view[uint16](w))
	case tensor.BF16:
		s.DecodeBF16(wide, view[uint16](w))
	default:
		wide = view[float32](w)
	}
	var out [TileRows * TileTokens]float32
	var at [TileRows][]float32
	for t := 0; t < tokens; t += TileTokens {
		for j := range TileTokens {
			s.PanelRow(panel, j, x[(t+j)*n:][:n])
		}
		for r := 0; r < rows; r += TileRows {
			for i := range at {
				at[i] = wide[(r+i)*n:][:n]
			}
			s.TileF32(&out, &at, panel)
		}
	}
}
