package config

import (
	"fmt"
	"math"
)

// RoPE is how queries and keys are rotated by their positions (Su et al.,
// "RoFormer", arXiv:2104.09864). The zero RoPE rotates nothing.
type RoPE struct {
	Theta       float64 `json:"theta"`                 // base of the frequencies
	Dims        int     `json:"dims"`                  // elements of a head that rotate, from the first on; the rest stay
	Interleaved bool    `json:"interleaved,omitempty"` // element 2i pairs with 2i+1; else i with i+Dims/2
	// Divisors says that the tensor rope.divisors holds what each frequency is
	// divided by.
	Divisors bool        `json:"divisors,omitempty"`
	Scaling  RoPEScaling `json:"scaling,omitempty"`
	Factor   float64     `json:"factor,omitempty"`   // contexts become so many times longer
	Original int         `json:"original,omitempty"` // context that the model was trained with before
	LowFreq  float64     `json:"low_freq,omitempty"` // llama3: wavelengths above Original/LowFreq are scaled
	HighFreq float64     `json:"high_freq,omitempty"`
	BetaFast float64     `json:"beta_fast,omitempty"` // yarn: rotations within Original from which nothing is scaled
	BetaSlow float64     `json:"beta_slow,omitempty"` // yarn: and below which everything is
	// Unrounded says that yarn's bounds are not rounded to whole elements.
	Unrounded bool `json:"unrounded,omitempty"`
	// Magnitude multiplies what is rotated; 0: 1.
	Magnitude float64 `json:"magnitude,omitempty"`
}

// RoPEScaling is how frequencies are changed for contexts longer than those that a
// model was first trained with.
type RoPEScaling string

// The ways. Their formulae are those of transformers' modeling_rope_utils.py.
const (
	RoPEDefault RoPEScaling = ""
	RoPELinear  RoPEScaling = "linear"
	RoPELlama3  RoPEScaling = "llama3"
	RoPEYaRN    RoPEScaling = "yarn" // Peng et al., arXiv:2309.00071
)

func (r RoPE) validate(headDim int) error {
	if r == (RoPE{}) {
		return nil
	}
	positive := func(v float64) bool { return v > 0 && v <= math.MaxFloat32 }
	scaled := r.Scaling != RoPEDefault
	switch {
	case !(r.Theta > 1 && r.Theta <= math.MaxFloat32):
		return fmt.Errorf("config: profile: got RoPE of theta %v, want a number above 1", r.Theta)
	case r.Dims < 2 || r.Dims%2 != 0 || r.Dims > headDim:
		return fmt.Errorf("config: profile: got RoPE of %d elements, want an even number up to the head's %d", r.Dims, headDim)
	case scaled && r.Scaling != RoPELinear && r.Scaling != RoPELlama3 && r.Scaling != RoPEYaRN:
		return fmt.Errorf("config: profile: got RoPE scaling %q, want linear, llama3 or yarn", r.Scaling)
	case scaled && !positive(r.Factor):
		return fmt.Errorf("config: profile: got a RoPE factor of %v, want a number above 0", r.Factor)
	case (r.Scaling == RoPELlama3 || r.Scaling == RoPEYaRN) && r.Original < 1:
		return fmt.Errorf("config: profile: got RoPE scaled from a context of %d tokens, want at least 1", r.Original)
	case r.Scaling == RoPELlama3 && !(positive(r.LowFreq) && positive(r.HighFreq) && r.LowFreq < r.HighFreq):
		return fmt.Errorf("config: profile: got RoPE bounds %v and %v, want the first above 0 and below the second", r.LowFreq, r.HighFreq)
	case r.Scaling == RoPEYaRN && !(positive(r.BetaFast) && positive(r.BetaSlow)):
		return fmt.Errorf("config: profile: got RoPE bounds %v and %v, want numbers above 0", r.BetaFast, r.BetaSlow)
	case !(r.Magnitude >= 0 && r.Magnitude <= math.MaxFloat32):
		return fmt.Errorf("config: profile: got a RoPE magnitude of %v, want a number of at least 0", r.Magnitude)
	}
	return nil
}

// Frequencies are the Dims/2 angles, in radians, by which one position turns the
// pairs of a head. divisors is nil or divides them.
func (r RoPE) Frequencies(divisors []float32) []float32 {
	f := make([]float32, r.Dims/2)
	low, high := r.yarnBounds()
	for i := range f {
		v := math.Pow(r.Theta, -2*float64(i)/float64(r.Dims))
		switch r.Scaling {
		case RoPELinear:
			v /= r.Factor
		case RoPELlama3:
			v = r.llama3(v)
		case RoPEYaRN:
			ramp := min(max((float64(i)-low)/(high-low), 0), 1)
			v = ramp*v/r.Factor + (1-ramp)*v
		}
		if divisors != nil {
			v /= float64(divisors[i])
		}
		f[i] = float32(v)
	}
	return f
}

// llama3 leaves short waves, slows long ones down by the factor, and goes from one
// to the other in between.
func (r RoPE) llama3(f float64) float64 {
	turns := float64(r.Original) * f / (2 * math.Pi) // within the original context
	switch {
	case turns < r.LowFreq:
		return f / r.Factor
	case turns > r.HighFreq:
		return f
	}
	smooth := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
	return (1-smooth)*f/r.Factor + smooth*f
}

// yarnBounds are the pairs between which yarn goes from no scaling to all.
func (r RoPE) yarnBounds() (low, high float64) {
	pair := func(turns float64) float64 {
		return float64(r.Dims) * math.Log(float64(r.Original)/(turns*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high = pair(r.BetaFast), pair(r.BetaSlow)
	if !r.Unrounded {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dims-1))
	if low == high {
		high += 0.001
	}
	return low, high
}
