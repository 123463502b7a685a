package shortsleep

import (
	"testing"
	"time"
)

// For sleeps for as long as it is told, but for the time that a signal takes off
// some of them.
func TestFor(t *testing.T) {
	const d, times = time.Millisecond, 20
	whole := 0
	for range times {
		begin := time.Now()
		For(d)
		if time.Since(begin) >= d {
			whole++
		}
	}
	if whole < times/2 {
		t.Errorf("slept %v in %d of %d times, want it in most", d, whole, times)
	}
}
