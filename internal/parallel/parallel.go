// Package parallel runs loops on several threads.
package parallel

import (
	"sync"
	"sync/atomic"
)

// For calls do for the spans of at most size elements that make up n, on up to
// threads goroutines, and returns when all are done. Whoever is free takes the
// next span.
func For(threads, n, size int, do func(from, to int)) {
	var next atomic.Int64
	take := func() {
		for at := int(next.Add(int64(size))) - size; at < n; at = int(next.Add(int64(size))) - size {
			do(at, min(n, at+size))
		}
	}
	var wg sync.WaitGroup
	for range min(threads, (n+size-1)/size) - 1 {
		wg.Go(take)
	}
	take()
	wg.Wait()
}
