//go:build !linux

package nap

import "time"

// For sleeps for d or more.
func For(d time.Duration) { time.Sleep(d) }
