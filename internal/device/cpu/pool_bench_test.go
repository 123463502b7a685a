package cpu

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkPool is what an operation pays to the pool: two chunks of some work
// on two threads, with 3 us of the caller's own work before each, as between
// the operations of a token; over-ns is what the operation took beyond one
// chunk, which is all it would take if the helper began at once. The tenth
// percentile is that of undisturbed runs.
func BenchmarkPool(b *testing.B) {
	for _, work := range []time.Duration{0, 5 * time.Microsecond, 50 * time.Microsecond} {
		b.Run(fmt.Sprintf("work=%v", work), func(b *testing.B) {
			p := newPool(2)
			defer p.close()
			var over []time.Duration
			for b.Loop() {
				busy(3*time.Microsecond).run(0, 1, 0)
				start := time.Now()
				p.run(busy(work), 2, 1)
				over = append(over, time.Since(start)-work)
			}
			slices.Sort(over)
			b.ReportMetric(float64(over[len(over)/10]), "over-ns/p10")
			b.ReportMetric(float64(over[len(over)/2]), "over-ns/p50")
		})
	}
}

// busy computes each unit for some time.
type busy time.Duration

func (d busy) run(lo, hi, _ int) {
	for start := time.Now(); time.Since(start) < time.Duration(hi-lo)*time.Duration(d); {
	}
}
