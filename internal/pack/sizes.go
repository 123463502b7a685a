package pack

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Profile describes the model. Its EOS list is the caller's own.
func (l *Layout) Profile() config.ModelProfile {
	profile := l.profile
	profile.EOS = slices.Clone(profile.EOS)
	return profile
}

// MLPDType is the element type of the bundles.
func (l *Layout) MLPDType() tensor.DType { return l.mlp }

// AttnDType is the element type of the resident matrices, but for those whose
// rows its blocks do not fill: see [Tensor].
func (l *Layout) AttnDType() tensor.DType { return l.attn }

// Tensors lists the resident tensors in file order: all that is no bundle, no
// table and no padding.
func (l *Layout) Tensors() []Tensor { return slices.Clone(l.tensors) }

// Tensor returns the resident tensor called name, if there is one.
func (l *Layout) Tensor(name string) (Tensor, bool) {
	i, ok := l.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return l.tensors[i], true
}

// WeightBytes is the size of the weights that a budget's share is a share of:
// resident matrices and vectors, experts, and bundles at their stride.
func (l *Layout) WeightBytes() int64 {
	n := l.Bundles()*l.stride + l.expertBytes()
	for _, t := range l.tensors {
		if t.Kind == Matrix || t.Kind == Vector {
			n += t.Bytes()
		}
	}
	return n
}

// Size is the size of the file.
func (l *Layout) Size() int64 { return l.size }

// Bundles is the number of neurons that are stored as bundles: none in files used
// in place, and where the MLPs are ordinary matrices.
func (l *Layout) Bundles() int64 {
	if l.inPlace {
		return 0
	}
	return l.profile.Bundles()
}

// TokenizerBytes is about the size of what the tokenizer is read from.
func (l *Layout) TokenizerBytes() int64 {
	n := l.tokenizerBytes
	for _, size := range l.tokenizer {
		n += size
	}
	return n
}

// BundleStride is the distance between bundles in the file.
func (l *Layout) BundleStride() int64 { return l.stride }

// Types are the element types of matrices, bundles and experts, each once.
func (l *Layout) Types() (types []tensor.DType) {
	if l.Bundles() > 0 {
		types = append(types, l.mlp)
	}
	add := func(t tensor.DType) {
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	for _, t := range l.tensors {
		if t.Kind == Matrix {
			add(t.Elem)
		}
	}
	for _, parts := range l.experts.parts {
		for _, x := range parts {
			add(x.DType)
		}
	}
	return types
}

// BundleBytes is the size of a bundle without its padding.
func (l *Layout) BundleBytes() int64 { return l.profile.BundleBytes(l.mlp) }
