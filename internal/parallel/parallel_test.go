package parallel

import (
	"sync/atomic"
	"testing"
)

// Every element comes once, whatever the threads and the size of a span.
func TestSpans(t *testing.T) {
	for _, threads := range []int{0, 1, 3, 50} {
		for _, n := range []int{0, 1, 7, 100} {
			for _, size := range []int{1, 3, 200} {
				seen := make([]atomic.Int32, n)
				Spans(threads, n, size, func(from, to int) {
					if to-from > size {
						t.Errorf("got a span of %d, want at most %d", to-from, size)
					}
					for i := from; i < to; i++ {
						seen[i].Add(1)
					}
				})
				for i := range seen {
					if got := seen[i].Load(); got != 1 {
						t.Fatalf("%d threads, spans of %d: element %d of %d came %d times", threads, size, i, n, got)
					}
				}
			}
		}
	}
}
