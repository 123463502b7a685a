package config

import "fmt"

// Activation is the function between a neuron's two halves, by the name that
// Hugging Face configurations use.
type Activation string

// The activation functions. In a neuron of three parts the function is the gate's,
// and the product of the second part with the input multiplies what it gives.
const (
	ReLU      Activation = "relu"
	FATReLU   Activation = "fatrelu"    // x where x is above a threshold, else 0 (Song et al., "ProSparse", 2024)
	DReLU     Activation = "drelu"      // ReLU of the gate and of the second part alike (Song et al., "Turbo Sparse", 2024)
	GELU      Activation = "gelu"       // x Phi(x), by erf
	GELUTanh  Activation = "gelu_new"   // the tanh approximation of GELU
	QuickGELU Activation = "quick_gelu" // x sigmoid(1.702 x)
	SiLU      Activation = "silu"       // x sigmoid(x)
	// ClampedSwiGLU is gpt-oss's: with g = min(gate, 7) and u the second part's product
	// clamped to -7..7, (u+1) g sigmoid(1.702 g).
	ClampedSwiGLU Activation = "swiglu_clamped"
)

// Activations are the names of all, for errors.
const Activations = "relu, fatrelu, drelu, gelu, gelu_new, quick_gelu or silu"

// ActivationNamed is the function that transformers (activations.py) know as
// name, which is one of its several names for it.
func ActivationNamed(name string) (Activation, bool) {
	switch name {
	case "relu":
		return ReLU, true
	case "fatrelu":
		return FATReLU, true
	case "drelu", "dReLU":
		return DReLU, true
	case "gelu", "gelu_python":
		return GELU, true
	case "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh":
		return GELUTanh, true
	case "quick_gelu":
		return QuickGELU, true
	case "silu", "swish":
		return SiLU, true
	}
	return "", false
}

// Sparse reports whether the function gives exact zeros.
func (a Activation) Sparse() bool { return a == ReLU || a == FATReLU || a == DReLU }

// Validate reports a value that is none of the constants.
func (a Activation) Validate() error {
	if named, _ := ActivationNamed(string(a)); named == a && a != "" || a == ClampedSwiGLU {
		return nil
	}
	return fmt.Errorf("config: profile: got activation %q, want %s", string(a), Activations)
}
