package disk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// SimSpec is a simulated disk: it serves one read after the other, each in the
// time that a DiskSpeed says, and the bytes are there a latency later.
type SimSpec struct {
	IOPS           float64 // reads per second
	BytesPerSecond float64
	Latency        time.Duration
}

// Speed is the disk's rates.
func (s SimSpec) Speed() DiskSpeed { return DiskSpeed{s.IOPS, s.BytesPerSecond} }

// String is s as ParseSim reads it.
func (s SimSpec) String() string {
	return fmt.Sprintf("%siops,%sGB/s,%v", plain(s.IOPS), plain(s.BytesPerSecond/1e9), s.Latency)
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// ParseSim reads a simulated disk such as "57kiops,0.95GB/s,100us": reads per
// second, bytes per second (k, M and G are powers of 1000) and latency, in any
// order. Without a latency there is none.
func ParseSim(text string) (SimSpec, error) {
	var s SimSpec
	fail := func(format string, args ...any) (SimSpec, error) {
		return SimSpec{}, fmt.Errorf("disk: simulated disk: got %q, want such as 57kiops,0.95GB/s,100us: %s", text, fmt.Sprintf(format, args...))
	}
	latency := false
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		lower := strings.ToLower(word)
		var twice bool
		var err error
		if rate, ok := strings.CutSuffix(lower, "iops"); ok {
			twice = s.IOPS != 0
			s.IOPS, err = parseRate(rate)
		} else if rate, ok := strings.CutSuffix(lower, "b/s"); ok {
			twice = s.BytesPerSecond != 0
			s.BytesPerSecond, err = parseRate(rate)
		} else {
			twice = latency
			latency = true
			if s.Latency, err = time.ParseDuration(lower); err == nil && (s.Latency < 0 || s.Latency > maxLatency) {
				err = fmt.Errorf("got a latency of %v, want 0 to %v", s.Latency, maxLatency)
			}
		}
		if err != nil {
			return fail("%q: %v", word, err)
		}
		if twice {
			return fail("%q comes after another of its kind", word)
		}
	}
	if s.IOPS == 0 || s.BytesPerSecond == 0 {
		return fail("reads per second or bytes per second are missing")
	}
	return s, nil
}

// Bounds of what can be simulated: slower is a mistake, and faster than any
// disk would be lost in the noise of the clock.
const (
	minRate    = 1.0
	maxRate    = 1e15
	maxLatency = time.Minute
)

// parseRate reads a number that may have a k, m or g after it.
func parseRate(word string) (float64, error) {
	scale := 1.0
	if n := len(word); n > 0 {
		switch word[n-1] {
		case 'k':
			scale = 1e3
		case 'm':
			scale = 1e6
		case 'g':
			scale = 1e9
		}
		if scale > 1 {
			word = word[:n-1]
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
	if err != nil {
		return 0, fmt.Errorf("got %q, want a number", word)
	}
	if v *= scale; math.IsNaN(v) || v < minRate || v > maxRate {
		return 0, fmt.Errorf("got %v per second, want %v to %v", v, minRate, maxRate)
	}
	return v, nil
}
