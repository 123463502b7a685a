//go:build !linux

package memory

// PeakRSS is the most memory that this process has had resident, in bytes; 0
// where the system does not say.
func PeakRSS() int64 { return 0 }
