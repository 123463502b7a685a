package parallel

import (
	"sync/atomic"
	"testing"
)

// Every element is taken once, whatever the threads and the spans.
func TestFor(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		for _, n := range []int{0, 1, 2, 7, 100} {
			for _, size := range []int{1, 3, 100} {
				taken := make([]atomic.Int32, n)
				For(threads, n, size, func(from, to int) {
					if to-from > size || from >= to {
						t.Errorf("got a span from %d to %d, want up to %d elements", from, to, size)
					}
					for i := from; i < to; i++ {
						taken[i].Add(1)
					}
				})
				for i := range taken {
					if got := taken[i].Load(); got != 1 {
						t.Errorf("%d threads, %d elements by %d: element %d was taken %d times", threads, n, size, i, got)
					}
				}
			}
		}
	}
}
