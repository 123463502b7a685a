package sample

import "math"

// Top-k and top-p ask the same question: which is the smallest score that has
// less than a target above it, the target being a count or a mass? Both answer
// it by a radix selection: scores become integers of the same order, a histogram
// over their leading digit finds the digit of the threshold, and the next digit
// is looked at among scores that share it. That is three passes whatever the
// target, where a heap takes n log k for a large k, and quickselect needs a copy
// to permute and mispredicts half its branches.

const buckets = 1 << 11

// A histogram holds the weight of the keys of each digit; [2048] counts or masses.
type histogram [buckets]float64

// A digit is a run of a key's bits.
type digit struct {
	shift uint8
	mask  uint32
}

// of returns the digit of key. It is below buckets in a way the compiler sees.
func (d digit) of(key uint32) uint32 { return key >> (d.shift & 31) & d.mask & (buckets - 1) }

// follows reports whether key agrees with prefix in all bits above the digit;
// prefix has none set from the digit down.
func (d digit) follows(key, prefix uint32) bool { return (key^prefix)>>(d.shift&31) <= d.mask }

// threshold returns the smallest of the keys for which all strictly larger keys
// weigh less than target, and what those weigh. fill adds to h, at a digit, the
// weight of every key that follows prefix; it runs once a digit.
func (h *histogram) threshold(target float64, fill func(h *histogram, d digit, prefix uint32)) (key uint32, above float64) {
	digits := [...]digit{
		{shift: 21, mask: 1<<11 - 1}, // sign, exponent and two bits of the mantissa
		{shift: 10, mask: 1<<11 - 1},
		{shift: 0, mask: 1<<10 - 1},
	}
	for _, d := range digits {
		clear(h[:])
		fill(h, d, key)
		var at uint32
		larger, next := above, above
		for b := int(d.mask); b >= 0 && next < target; b-- {
			// An empty bucket holds no key. Where rounding makes the buckets of a
			// digit fall short of the target that their sum reached, the last
			// one that is not empty is the answer.
			if h[b] == 0 {
				continue
			}
			at, larger = uint32(b), next
			next += h[b]
		}
		key |= at << d.shift
		above = larger
	}
	return key, above
}

// keyOf returns an integer that orders as x does. x is not NaN.
func keyOf(x float32) uint32 {
	// Adding 0 makes -0 equal to 0.
	bits := math.Float32bits(x + 0)
	// Negative: flip all bits, since a larger magnitude is a smaller number.
	// Otherwise: set the sign bit, above every negative.
	return bits ^ (uint32(int32(bits)>>31) | 1<<31)
}
