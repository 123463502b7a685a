package memory

import (
	"bytes"
	"os"
	"strconv"
)

// PeakRSS is the most memory that this process has had resident, in bytes; 0
// where the system does not say.
//
// It is VmHWM of proc(5), which counts from the last exec. ru_maxrss of
// getrusage(2) survives an exec and so can be that of a larger parent.
func PeakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
