package config

import "fmt"

// Activation is the function between a neuron's two halves, by the name that
// Hugging Face configurations use.
type Activation string

// The activation functions. ReLU alone gives exact zeros.
const (
	ReLU      Activation = "relu"
	GELU      Activation = "gelu"       // x Phi(x), by erf
	GELUTanh  Activation = "gelu_new"   // the tanh approximation of GELU
	QuickGELU Activation = "quick_gelu" // x sigmoid(1.702 x)
	SiLU      Activation = "silu"       // x sigmoid(x)
)

const activations = "relu, gelu, gelu_new, quick_gelu or silu"

// activationNamed is the function that transformers (activations.py) know as
// name, which is one of its several names for it.
func activationNamed(name string) (Activation, bool) {
	switch name {
	case "relu":
		return ReLU, true
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
func (a Activation) Sparse() bool { return a == ReLU }

// Validate reports a value that is none of the constants.
func (a Activation) Validate() error {
	if named, _ := activationNamed(string(a)); named == a && a != "" {
		return nil
	}
	return fmt.Errorf("config: profile: got activation %q, want %s", string(a), activations)
}
