package pack

import (
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// ExpertPart is the shape of one part, gate, up or down, of all experts of a layer.
type ExpertPart struct {
	DType      tensor.DType
	Rows, Cols int
}

// Bytes is the size of the part of one expert.
func (x ExpertPart) Bytes() int64 { return int64(x.Rows) * x.DType.RowBytes(x.Cols) }

// ExpertParts are the parts of a layer's experts, none where the layer has no experts.
func (l *Layout) ExpertParts(layer int) []ExpertPart {
	if layer >= len(l.experts) {
		return nil
	}
	return l.experts[layer]
}

// ExpertBytes is the size of an expert of a layer, 0 where the layer has none.
func (l *Layout) ExpertBytes(layer int) (n int64) {
	for _, x := range l.ExpertParts(layer) {
		n += x.Bytes()
	}
	return n
}

// ExpertRoom is what an expert of a layer takes in memory: the stride of its slots.
// Each of its parts may begin and end anywhere in a page of the file, which is read
// whole.
func (l *Layout) ExpertRoom(layer int) (n int64) {
	for _, x := range l.ExpertParts(layer) {
		n += alignUp(x.Bytes(), pageBytes) + pageBytes
	}
	return n
}

// expertBytes is the size of the experts of all layers.
func (l *Layout) expertBytes() (n int64) {
	for i := range l.experts {
		n += int64(l.profile.MoE(i).Experts) * l.ExpertBytes(i)
	}
	return n
}

// describeExperts sets the parts of a pack's experts, which have the type of the MLP's
// matrices unless types names another.
func (l *Layout) describeExperts() {
	if l.profile.Experts() == 0 {
		return
	}
	l.experts = make([][]ExpertPart, l.profile.Layers)
	for i := range l.experts {
		for _, x := range l.profile.ExpertTensors(i) {
			t, ok := l.types[x.Name]
			if !ok {
				t = l.mlp
			}
			l.experts[i] = append(l.experts[i], ExpertPart{t.OfRow(x.Cols), x.Rows, x.Cols})
		}
	}
}

// isExperts reports whether a part of the experts is called name and has the type t.
func (l *Layout) isExperts(name string, t tensor.DType) bool {
	for i := range l.experts {
		for j, x := range l.profile.ExpertTensors(i) {
			if x.Name == name {
				return l.experts[i][j].DType == t
			}
		}
	}
	return false
}

// OfMLP reports whether a tensor of this name belongs to an MLP or an expert.
func OfMLP(name string) bool {
	return strings.Contains(name, ".mlp.") || strings.Contains(name, ".moe.experts.") || strings.Contains(name, ".moe.shared.")
}

// IsRouter reports whether a tensor of this name chooses experts. It is kept in full,
// so that quantised weights name the same ones.
func IsRouter(name string) bool { return strings.HasSuffix(name, ".moe.router.weight") }

// ExpertShapes are the parts of a layer's experts as matrices of one expert each.
func ExpertShapes(p config.ModelProfile, layer int) (shapes []config.TensorShape) {
	for _, x := range p.ExpertTensors(layer) {
		shapes = append(shapes, config.TensorShape{Name: x.Name, Rows: x.Rows, Cols: x.Cols})
	}
	return shapes
}
