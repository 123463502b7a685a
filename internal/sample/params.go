package sample

import (
	"fmt"
	"math"
)

// Params says how tokens are chosen. The zero value is greedy decoding without
// penalty. Each field is named in errors by its flag.
type Params struct {
	// Temperature divides the logits; 0 is greedy: the likeliest token after the
	// repetition penalty, with TopK, TopP, MinP and Seed of no effect.
	Temperature float32
	// TopK keeps the k largest logits and those equal to the k-th; 0, or the
	// vocabulary's size and more, is off.
	TopK int
	// TopP keeps the likeliest tokens that together hold this mass; 0 and 1 are
	// off.
	TopP float32
	// MinP removes tokens less likely than this share of the likeliest; 0 is off,
	// 1 leaves the likeliest and its equals.
	MinP float32
	// RepetitionPenalty above 1 makes ids of the context less likely, below 1
	// more likely; 0 and 1 are off.
	RepetitionPenalty float32
	// Seed starts the generator; every value, 0 included, is a seed of its own.
	Seed uint64
}

// Validate reports the first field that lies outside its range.
func (p Params) Validate() error {
	if !(p.Temperature >= 0) || isInf(p.Temperature) {
		return outOfRange("temperature", p.Temperature, "a finite number of at least 0 (0: greedy)")
	}
	if p.TopK < 0 {
		return outOfRange("top-k", p.TopK, "at least 0 (0: off)")
	}
	if !(p.TopP >= 0 && p.TopP <= 1) {
		return outOfRange("top-p", p.TopP, "0 to 1 (0 or 1: off)")
	}
	if !(p.MinP >= 0 && p.MinP <= 1) {
		return outOfRange("min-p", p.MinP, "0 to 1 (0: off)")
	}
	if !(p.RepetitionPenalty >= 0) || isInf(p.RepetitionPenalty) {
		return outOfRange("repetition-penalty", p.RepetitionPenalty, "a finite number of at least 0 (0 or 1: off)")
	}
	return nil
}

// Greedy reports whether the likeliest token is taken without a draw.
func (p Params) Greedy() bool { return p.Temperature == 0 }

func (p Params) penalises() bool  { return p.RepetitionPenalty != 0 && p.RepetitionPenalty != 1 }
func (p Params) limitsMass() bool { return p.TopP != 0 && p.TopP != 1 }

func isInf(x float32) bool { return math.IsInf(float64(x), 0) }

func outOfRange(flag string, got any, want string) error {
	return fmt.Errorf("sample: %s: got %v, want %s", flag, got, want)
}
