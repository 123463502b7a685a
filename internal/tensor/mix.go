package tensor

import (
	"fmt"
	"strings"
)

// Role is what a matrix is for, as far as mixes of types tell matrices apart.
type Role uint8

// The roles of matrices.
const (
	OtherRole Role = iota
	EmbeddingRole
	HeadRole // also of an embedding that is the head
	AttnKRole
	AttnVRole
	AttnQKVRole // the three in one
	AttnOutRole
	DownRole // of a feed-forward part, dense or of experts
)

// Place is where a model has a matrix.
type Place struct {
	Role          Role
	Layer, Layers int
	Experts       int // of a layer; 0 or 1 where it is dense
	Cols          int // elements of a row
}

// A Mix gives every matrix of a model its type.
type Mix struct {
	name string
	base DType
	more bool // more bits for what loses most by few
}

// mixed are the names of mixes that are not one type throughout.
var mixed = []Mix{{"q4_k_m", Q4_K, true}, {"q5_k_m", Q5_K, true}}

// Mixes are the names that ParseMix knows: those of types that Encodes, and of
// mixes of them.
func Mixes() (names []string) {
	for d := range DType(DTypes) {
		if d.Encodes() {
			names = append(names, strings.ToLower(d.String()))
		}
	}
	for _, m := range mixed {
		names = append(names, m.name)
	}
	return names
}

// ParseMix returns the mix named s, in either case.
func ParseMix(s string) (Mix, error) {
	for _, m := range mixed {
		if strings.EqualFold(s, m.name) {
			return m, nil
		}
	}
	if d, err := ParseDType(s); err == nil && d.Encodes() {
		return Mix{strings.ToLower(s), d, false}, nil
	}
	return Mix{}, fmt.Errorf("tensor: parse mix: got %q, want one of %s", s, strings.Join(Mixes(), ", "))
}

// String is the mix's name.
func (m Mix) String() string { return m.name }

// Base is the type of most matrices.
func (m Mix) Base() DType { return m.base }

// Type is that of the matrix at p, with those for rows that blocks do not fill.
// A mix is that of llama.cpp's quantize (llama_tensor_get_type): the head has
// Q6_K, the second matrices of attention's values and of the feed-forward part
// have it in the first and the last eighth of the layers and in every third of the
// others, and the attention of 8 experts, which is small beside them, more.
func (m Mix) Type(p Place) DType {
	d := m.base
	if !m.more {
		return d.OfRow(p.Cols)
	}
	eighth := p.Layers / 8
	often := p.Layer < eighth || p.Layer >= 7*p.Layers/8 || (p.Layer-eighth)%3 == 2
	switch p.Role {
	case HeadRole:
		d = Q6_K
	case AttnVRole:
		if often {
			d = Q6_K
		}
		if p.Experts == 8 {
			d = Q8_0
		}
	case AttnKRole:
		if p.Experts == 8 {
			d = Q8_0
		}
	case AttnOutRole:
		if p.Experts == 8 {
			d = Q5_K
		}
	case AttnQKVRole:
		if d == Q4_K {
			d = Q5_K
		} else {
			d = Q6_K
		}
	case DownRole:
		if often {
			d = Q6_K
		}
	}
	return d.OfRow(p.Cols)
}
