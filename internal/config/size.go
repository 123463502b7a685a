package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Budget is a limit on fast memory, in one of two meanings. The zero Budget
// means that none was given.
type Budget struct {
	// Share limits resident weights, slots and predictors to this multiple
	// of the model's weight bytes (0.58 is 58 %).
	Share float64
	// Bytes limits the whole process.
	Bytes int64
}

// IsZero reports whether no budget was given.
func (b Budget) IsZero() bool { return b == Budget{} }

// Validate reports a budget that is negative, not a number, or both kinds.
func (b Budget) Validate() error {
	if !(b.Share >= 0) || math.IsInf(b.Share, 1) || b.Bytes < 0 || b.Share > 0 && b.Bytes > 0 {
		return fmt.Errorf("config: budget: got a share of %v and %d bytes, want one of them, above zero", b.Share, b.Bytes)
	}
	return nil
}

// String is the budget as a flag would give it, a share to 15 digits.
func (b Budget) String() string {
	if b.Share > 0 {
		// 0.58*100 is 57.99999999999999; 15 digits survive both roundings.
		return strconv.FormatFloat(b.Share*100, 'g', 15, 64) + "%"
	}
	return strconv.FormatInt(b.Bytes, 10)
}

// ParseBudget reads "58%" or a size as ParseSize does.
func ParseBudget(s string) (Budget, error) {
	fail := func() (Budget, error) {
		return Budget{}, fmt.Errorf("config: budget: got %q, want a share such as 58%% or a size such as 4GiB", s)
	}
	if p, ok := strings.CutSuffix(strings.TrimSpace(s), "%"); ok {
		// A share beyond any model is a slip of the keyboard.
		v, ok := parseDecimal(p)
		if !ok || v == 0 || v > 1e6 {
			return fail()
		}
		return Budget{Share: v / 100}, nil
	}
	n, err := ParseSize(s)
	if err != nil || n == 0 {
		return fail()
	}
	return Budget{Bytes: n}, nil
}

// ParseSize reads a number of bytes: a number and a unit, where kB, MB, GB
// are powers of 1000, KiB, MiB, GiB of 1024, and no unit means bytes. Case
// does not count.
func ParseSize(s string) (int64, error) {
	number := strings.TrimSpace(s)
	unit := strings.TrimLeft(number, "0123456789.e+-")
	number = strings.TrimSuffix(number, unit)
	bytes, known := unitBytes(strings.ToLower(unit))
	v, ok := parseDecimal(number)
	// Beyond an exbibyte nothing is addressable, and below it no sum of a few
	// sizes overflows.
	if !known || !ok || v*bytes > 1<<60 {
		return 0, fmt.Errorf("config: size: got %q, want a number and kB, MB, GB, KiB, MiB or GiB", s)
	}
	return int64(math.Round(v * bytes)), nil
}

func unitBytes(unit string) (float64, bool) {
	switch strings.TrimSpace(unit) {
	case "", "b":
		return 1, true
	case "k", "kb":
		return 1e3, true
	case "m", "mb":
		return 1e6, true
	case "g", "gb":
		return 1e9, true
	case "t", "tb":
		return 1e12, true
	case "kib":
		return 1 << 10, true
	case "mib":
		return 1 << 20, true
	case "gib":
		return 1 << 30, true
	case "tib":
		return 1 << 40, true
	}
	return 0, false
}

// parseDecimal reads a decimal number that is not negative. Of what
// strconv.ParseFloat reads, hexadecimal and names (0x1p4, inf) are no way to
// write a size.
func parseDecimal(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	v, err := strconv.ParseFloat(s, 64)
	ok := err == nil && v >= 0 && strings.Trim(s, "0123456789.e+-") == ""
	return v, ok
}

// FormatSize writes n as people read it, in powers of 1000.
func FormatSize(n int64) string {
	if -1000 < n && n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n) / 1000
	for _, u := range []string{"kB", "MB", "GB"} {
		// Above this bound two decimals would round to 1000.00.
		if math.Abs(v) < 999.995 {
			return strconv.FormatFloat(v, 'f', 2, 64) + " " + u
		}
		v /= 1000
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " TB"
}
