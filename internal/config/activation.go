package config

import (
	"fmt"
	"slices"
	"strings"
)

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

// Other names under which transformers knows the same functions.
var activationNames = map[string]Activation{
	"relu":              ReLU,
	"gelu":              GELU,
	"gelu_python":       GELU,
	"gelu_new":          GELUTanh,
	"gelu_fast":         GELUTanh,
	"gelu_pytorch_tanh": GELUTanh,
	"quick_gelu":        QuickGELU,
	"silu":              SiLU,
	"swish":             SiLU,
}

// ParseActivation returns the function that a configuration calls name.
func ParseActivation(name string) (Activation, error) {
	if a, ok := activationNames[name]; ok {
		return a, nil
	}
	known := make([]string, 0, len(activationNames))
	for n := range activationNames {
		known = append(known, n)
	}
	slices.Sort(known)
	return "", fmt.Errorf("config: activation_function: got %q, want one of %s", name, strings.Join(known, ", "))
}

// Sparse reports whether the function gives exact zeros.
func (a Activation) Sparse() bool { return a == ReLU }

// Validate reports a value that is none of the constants.
func (a Activation) Validate() error {
	switch a {
	case ReLU, GELU, GELUTanh, QuickGELU, SiLU:
		return nil
	}
	return fmt.Errorf("config: profile: got activation %q, want relu, gelu, gelu_new, quick_gelu or silu", string(a))
}
