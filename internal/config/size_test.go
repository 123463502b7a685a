package config

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "123": 123, "7b": 7, "7 B": 7, "1k": 1000, "1kB": 1000, "1KB": 1000, "1 kb": 1000,
		"2M": 2e6, "2MB": 2e6, "3g": 3e9, "3GB": 3e9, "1T": 1e12, "1TB": 1e12,
		"1KiB": 1024, "1MiB": 1 << 20, "4GiB": 4 << 30, "2TiB": 2 << 40, "4gib": 4 << 30,
		"1.5GiB": 3 << 29, "0.5kB": 500, ".5kB": 500, "1.001kB": 1001, "8.2 kB": 8200,
		" 4GiB ": 4 << 30, "4  GiB": 4 << 30, "1e9": 1e9, "+5": 5, "1e3kB": 1e6,
		"1152921504606846976": 1 << 60, "1048576TiB": 1 << 60, "0.4": 0, "-0": 0,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q): got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "kB", "B", "-1", "-1kB", "1 2", "1.2.3", "1kk", "1PB", "1Gi", "GiB4", "4GiB4", "1,5GB",
		"0x10", "0x1p4", "1_000", "inf", "infB", "nan", "1e99", "1048577TiB", "58%", "e", "4e", "--4", "4 k B",
	} {
		if got, err := ParseSize(in); err == nil || !strings.HasPrefix(err.Error(), "config: size: got "+strconv.Quote(in)+", want ") {
			t.Errorf("ParseSize(%q): got %d, error %v", in, got, err)
		}
	}
}

func TestParseBudget(t *testing.T) {
	for in, want := range map[string]Budget{
		"58%": {Share: 0.58}, " 58 % ": {Share: 0.58}, "100%": {Share: 1}, "0.5%": {Share: 0.005},
		"150%": {Share: 1.5}, "12.5%": {Share: 0.125}, "4GiB": {Bytes: 4 << 30}, "1": {Bytes: 1},
	} {
		if got, err := ParseBudget(in); err != nil || got != want {
			t.Errorf("ParseBudget(%q): got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "%", "0%", "-1%", "inf%", "nan%", "0x1p4%", "1000001%", "5%%", "0", "0.4", "-4GiB", "4GiB%", "half"} {
		if got, err := ParseBudget(in); err == nil || !strings.HasPrefix(err.Error(), "config: budget: got "+strconv.Quote(in)+", want ") {
			t.Errorf("ParseBudget(%q): got %+v, error %v", in, got, err)
		}
	}
}

func TestBudgetString(t *testing.T) {
	for want, b := range map[string]Budget{
		"58%": {Share: 0.58}, "7%": {Share: 0.07}, "35.5%": {Share: 0.355}, "100%": {Share: 1},
		"4294967296": {Bytes: 4 << 30}, "0": {},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v: got %q, want %q", b, got, want)
		}
	}
	if !(Budget{}).IsZero() || (Budget{Share: 1}).IsZero() || (Budget{Bytes: 1}).IsZero() {
		t.Error("IsZero: got a wrong answer")
	}
}

// What a person can type comes back from String, and is valid.
func TestBudgetRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in string
		if rapid.Bool().Draw(t, "share") {
			in = strconv.FormatFloat(float64(rapid.IntRange(1000, 1e9).Draw(t, "millionths"))/1e6, 'f', -1, 64) + "%"
		} else {
			in = strconv.FormatInt(rapid.Int64Range(1, 1<<53).Draw(t, "n"), 10)
		}
		b, err := ParseBudget(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != in {
			t.Fatalf("%q: came back as %q", in, got)
		}
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 1234: "1.23 kB", 999_994: "999.99 kB", 999_996: "1.00 MB",
		999_999_999: "1.00 GB", 4 << 30: "4.29 GB", 13_317_000_000: "13.32 GB", 5e15: "5000.00 TB",
		-999: "-999 B", -1500: "-1.50 kB", math.MinInt64: "-9223372.04 TB",
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d): got %q, want %q", n, got, want)
		}
	}
}

// ParseSize reads back what FormatSize writes, to its two decimals.
func TestFormatSizeParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := int64(math.Exp2(rapid.Float64Range(0, 59).Draw(t, "log2")))
		back, err := ParseSize(FormatSize(n))
		if err != nil {
			t.Fatal(err)
		}
		if off := math.Abs(float64(back-n)) / float64(n); off > 0.00501 {
			t.Fatalf("%d: %q, %d, off by %g", n, FormatSize(n), back, off)
		}
	})
}
