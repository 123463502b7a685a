package kernel

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// aheadBytes is how far ahead of a row the next one is prefetched.
const aheadBytes = 8192

// quantStreams are the kernels over quantised rows of rowElems elements: the
// pool's values are positive float16, so any of them serves as a scale.
func quantStreams(s Set) []stream {
	x, y := make([]float32, rowElems), make([]float32, rowElems)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	stride := QuantXBytes(rowElems)
	records := make([]byte, 4*stride)
	for i := range 4 {
		s.QuantizeX(records[i*stride:], x, ZeroQ8)
	}
	var sink float32
	over := func(blockBytes int, one func(w []byte, next *byte)) stream {
		rowBytes := rowElems / 32 * blockBytes
		rows := (aheadBytes + rowBytes - 1) / rowBytes
		return stream{rowBytes: rowBytes, run: func(p []byte, at []int) {
			for i, r := range at {
				var next *byte
				if i+rows < len(at) {
					next = &p[at[i+rows]*rowBytes]
				}
				one(p[r*rowBytes:(r+1)*rowBytes], next)
			}
		}}
	}
	var all []stream
	for _, k := range []struct {
		name       string
		blockBytes int
		dot        func(w, x []byte, next *byte) float32
		dot4       func(w, x []byte, stride int, next *byte) [4]float32
		axpy       func(y []float32, a float32, w []byte, next *byte)
	}{
		{"Q8", q8Bytes, s.DotQ8, s.Dot4Q8, s.AxpyQ8},
		{"Q4", q4Bytes, s.DotQ4, s.Dot4Q4, s.AxpyQ4},
	} {
		dot := over(k.blockBytes, func(w []byte, next *byte) { sink += k.dot(w, records, next) })
		dot4 := over(k.blockBytes, func(w []byte, next *byte) { sink += k.dot4(w, records, stride, next)[3] })
		axpy := over(k.blockBytes, func(w []byte, next *byte) { k.axpy(y, 1e-3, w, next) })
		dot.name, dot4.name, axpy.name = "Dot"+k.name, "Dot4"+k.name, "Axpy"+k.name
		all = append(all, dot, dot4, axpy)
	}
	return all
}

// BenchmarkStreamPair is BenchmarkStream on two threads at once, each over its
// half of the rows, where memory is shared and a kernel that is slower than
// one thread's share of it cannot hide.
func BenchmarkStreamPair(b *testing.B) {
	p := pool(b)
	for _, s := range All()[min(1, len(All())-1):] {
		first, second := append(streams(s), quantStreams(s)...), append(streams(s), quantStreams(s)...)
		for i, k := range first {
			for _, sparse := range []bool{false, true} {
				if k.name == "DotU4S8" && sparse {
					continue // a sketch is always read whole
				}
				name := k.name + map[bool]string{false: "/dense/", true: "/sparse/"}[sparse] + s.Name
				b.Run(name, func(b *testing.B) { comparePair(b, p, k, second[i], sparse, Best().Load) })
			}
		}
	}
}

// comparePair measures by the time of the slower of two threads.
func comparePair(b *testing.B, p []byte, k, other stream, sparse bool, load func([]byte) uint64) {
	half := len(p) / 2
	together := func(one, two func()) time.Duration {
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(two)
		one()
		wg.Wait()
		return time.Since(start)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var limits, rates, shares []float64
	var at []int
	var sinks [2]uint64
	window := 4 * sliceBytes
	for i := 0; b.Loop(); i++ {
		from := i % (half / window) * window
		at = at[:0]
		for r := from / k.rowBytes; r < (from+window)/k.rowBytes; r++ {
			if !sparse || rng.IntN(10) == 0 {
				at = append(at, r)
			}
		}
		probe := (from + half/2) % half
		took := together(func() { sinks[0] += load(p[probe:][:window]) }, func() { sinks[1] += load(p[half+probe:][:window]) })
		limit := 2 * float64(window) / took.Seconds() / 1e9
		took = together(func() { k.run(p[:half], at) }, func() { other.run(p[half:], at) })
		rate := 2 * float64(len(at)*k.rowBytes) / took.Seconds() / 1e9
		limits, rates, shares = append(limits, limit), append(rates, rate), append(shares, rate/limit)
	}
	for _, v := range [][]float64{limits, rates, shares} {
		slices.Sort(v)
	}
	mid := len(shares) / 2
	b.ReportMetric(rates[mid], "GB/s")
	b.ReportMetric(limits[mid], "limit-GB/s")
	b.ReportMetric(shares[mid], "share-of-limit")
}
