package kernel

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkStreamPair is BenchmarkStream on two threads at once, each over its
// half of the rows, where memory is shared and a kernel that is slower than
// one thread's share of it cannot hide.
func BenchmarkStreamPair(b *testing.B) {
	p := pool(b)
	for _, s := range All()[min(1, len(All())-1):] {
		first, second := streams(s), streams(s)
		for i, k := range first {
			for _, sparse := range []bool{false, true} {
				if sparse && k.whole {
					continue
				}
				name := k.name + map[bool]string{false: "/dense/", true: "/sparse/"}[sparse] + s.Name
				b.Run(name, func(b *testing.B) { comparePair(b, p, k, second[i], sparse, Best().Load) })
			}
		}
	}
}

// comparePair measures by the time of the slower of two threads.
func comparePair(b *testing.B, p []byte, k, other stream, sparse bool, load func([]byte, *byte) uint64) {
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
		took := together(func() { sinks[0] += load(p[probe:][:window], nil) }, func() { sinks[1] += load(p[half+probe:][:window], nil) })
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
