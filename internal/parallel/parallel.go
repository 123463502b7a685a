// Package parallel is a loop on several threads.
package parallel

import (
	"sync"
	"sync/atomic"
)

// Each calls do once for every i from 0 to n-1, on threads threads, and returns
// when all calls have.
func Each(threads, n int, do func(i int)) {
	threads = min(threads, n)
	if threads <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// Spans is Each over the spans of at most size elements that make up n.
func Spans(threads, n, size int, do func(from, to int)) {
	Each(threads, (n+size-1)/size, func(i int) { do(i*size, min(n, (i+1)*size)) })
}
