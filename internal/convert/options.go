package convert

import (
	"fmt"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Quant says what element types a class of weights is to have in the pack: Keep,
// or the name of a mix of package tensor.
type Quant string

// Some of what can be asked for. The empty Quant is Keep.
const (
	Keep Quant = "keep" // as stored; of neurons that mix types, the narrowest that holds all
	F32  Quant = "f32"
	BF16 Quant = "bf16"
	F16  Quant = "f16"
	Q8_0 Quant = "q8_0"
	Q4_0 Quant = "q4_0"
)

// Quants are all.
func Quants() []string { return append([]string{string(Keep)}, tensor.Mixes()...) }

// ParseQuant returns the Quant named s, in either case.
func ParseQuant(s string) (Quant, error) {
	q := Quant(strings.ToLower(s))
	if _, err := tensor.ParseMix(string(q)); err != nil && q != Keep {
		return "", fmt.Errorf("convert: quant: got %q, want one of %s", s, strings.Join(Quants(), ", "))
	}
	return q, nil
}

// keeps reports whether a class is to be stored as it is.
func (q Quant) keeps() bool { return q == "" || q == Keep }

// mix is what q names, which is an error of what keeps everything.
func (q Quant) mix() (tensor.Mix, error) {
	if _, err := ParseQuant(string(q)); err != nil {
		return tensor.Mix{}, err
	}
	return tensor.ParseMix(string(q))
}

// widest is the narrowest type that holds every value of all.
func widest(all []*source.Tensor) tensor.DType {
	for _, t := range all {
		if t.DType != all[0].DType {
			return tensor.F32 // F16 and BF16 hold different values
		}
	}
	return all[0].DType
}

// commonest is the type of most bytes.
func commonest(all []*source.Tensor) (d tensor.DType) {
	var bytes [tensor.DTypes]int64
	for _, t := range all {
		if bytes[t.DType] += t.Bytes(); bytes[t.DType] > bytes[d] || bytes[t.DType] == bytes[d] && t.DType < d {
			d = t.DType
		}
	}
	return d
}

// Options says how to convert. The zero value keeps every element type.
type Options struct {
	Attn, MLP Quant // of the resident matrices and of the neurons
	// Name is the model's name in the pack; empty: the last element of the
	// source's path.
	Name string
	// Progress, if not nil, is told what was written and how many bytes of the
	// weights are done. Calls do not overlap.
	Progress func(what string, done, total int64)
	// Notify, if not nil, is told what a person may want to know. Calls do not
	// overlap with each other.
	Notify func(message string)
	// SourceSHA256 is what SourceHash says of the source, if it is known.
	SourceSHA256 string
	// OnePass, if not nil, says that the source is made as it is read: its
	// layers are read one after the other, each once the one before was done.
	// It is called at the end and tells the hash.
	OnePass func() (sourceSHA256 string, err error)
}

func (o Options) notify(format string, args ...any) {
	if o.Notify != nil {
		o.Notify(fmt.Sprintf(format, args...))
	}
}

// A Result is what a conversion made.
type Result struct {
	Profile      config.ModelProfile
	Attn, MLP    tensor.DType
	SourceSHA256 string
	Bytes        int64    // size of the pack
	Notices      []string // what a person may want to know of the source
}
