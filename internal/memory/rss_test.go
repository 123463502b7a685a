package memory

import (
	"runtime"
	"testing"
)

// TestPeakRSS touches more memory than a test binary has and wants it counted.
func TestPeakRSS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says")
	}
	const n = 64 << 20
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	if got := PeakRSS(); got < n || got > 1<<40 {
		t.Errorf("peak RSS: got %d, want at least the %d bytes touched", got, n)
	}
	runtime.KeepAlive(b)
}
