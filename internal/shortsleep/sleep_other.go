//go:build !linux

package shortsleep

import "time"

// For sleeps for d or more.
func For(d time.Duration) { time.Sleep(d) }
