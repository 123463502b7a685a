package pack

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// experts is where and what the experts of a model are.
type experts struct {
	parts  [][]ExpertPart // [layers], none of a layer without experts; nil of a model without
	number int            // of all layers
	before []int          // [layers] how many there are in layers before
	at     []int64        // [layers] of a .sflow file: offset of the first
	placed [][3][]int64   // [layers] in place: the offset of each expert's parts
}

// ExpertPart is the shape of one part, gate, up or down, of all experts of a layer.
type ExpertPart struct {
	DType      tensor.DType
	Rows, Cols int
}

// Bytes is the size of the part of one expert.
func (x ExpertPart) Bytes() int64 { return int64(x.Rows) * x.DType.RowBytes(x.Cols) }

// ExpertParts are the parts of a layer's experts, none where the layer has no experts.
func (l *Layout) ExpertParts(layer int) []ExpertPart {
	if layer >= len(l.experts.parts) {
		return nil
	}
	return l.experts.parts[layer]
}

// ExpertBytes is the size of an expert of a layer, 0 where the layer has none.
func (l *Layout) ExpertBytes(layer int) (n int64) {
	for _, x := range l.ExpertParts(layer) {
		n += x.Bytes()
	}
	return n
}

// ExpertOffset is where a part of an expert lies. In a .sflow file an expert's parts
// lie one after the other, and its first begins a page.
func (l *Layout) ExpertOffset(layer, part, expert int) int64 {
	if l.inPlace {
		return l.experts.placed[layer][part][expert]
	}
	at := l.experts.at[layer] + int64(expert)*l.ExpertStride(layer)
	for _, x := range l.experts.parts[layer][:part] {
		at += x.Bytes()
	}
	return at
}

// ExpertStride is how far a layer's experts lie apart in a .sflow file: the unit of a
// checksum, which ends with zeros.
func (l *Layout) ExpertStride(layer int) int64 { return alignUp(l.ExpertBytes(layer), pageBytes) }

// ExpertRoom is what an expert of a layer takes in memory: the stride of its slots.
// Each of its parts may begin and end anywhere in a page of the file, which is read
// whole.
func (l *Layout) ExpertRoom(layer int) (n int64) {
	for i := range l.ExpertParts(layer) {
		n += l.ExpertPartRoom(layer, i)
	}
	return n
}

// ExpertPartRoom is the share of one part in ExpertRoom.
func (l *Layout) ExpertPartRoom(layer, part int) int64 {
	return alignUp(l.experts.parts[layer][part].Bytes(), pageBytes) + pageBytes
}

// Experts is the number of experts of all layers.
func (l *Layout) Experts() int64 { return int64(l.experts.number) }

// ExpertNumber is the number of an expert of a layer among those of all layers of a
// .sflow file.
func (l *Layout) ExpertNumber(layer, expert int) int64 {
	return int64(l.experts.before[layer] + expert)
}

// expertBytes is the size of the experts of all layers.
func (l *Layout) expertBytes() (n int64) {
	for i := range l.experts.parts {
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
	x := &l.experts
	x.parts, x.before = make([][]ExpertPart, l.profile.Layers), make([]int, l.profile.Layers)
	for i := range x.parts {
		x.before[i] = x.number
		x.number += l.profile.MoE(i).Experts
		for _, shape := range l.profile.ExpertTensors(i) {
			t, ok := l.types[shape.Name]
			if !ok {
				t = l.mlp
			}
			x.parts[i] = append(x.parts[i], ExpertPart{t.OfRow(shape.Cols), shape.Rows, shape.Cols})
		}
	}
}

// placeExperts places the experts, layer by layer.
func (l *Layout) placeExperts() {
	for i := range l.experts.parts {
		n, stride := int64(l.profile.MoE(i).Experts), l.ExpertStride(i)
		at := l.size
		if n > 0 {
			at = l.entry(expertsName(i), "U8", []int64{n, stride}, n*stride)
		}
		l.experts.at = append(l.experts.at, at)
	}
}

func expertsName(layer int) string { return "layers." + strconv.Itoa(layer) + ".moe.experts" }

// layInPlace sets where the experts of files used as they are lie.
func (l *Layout) layInPlace(layers []arch.Experts, starts map[string]int64) error {
	if len(layers) == 0 {
		return nil
	}
	x := &l.experts
	x.parts, x.placed = make([][]ExpertPart, len(layers)), make([][3][]int64, len(layers))
	for i := range layers {
		x.number += l.profile.MoE(i).Experts
		for p, shape := range l.profile.ExpertTensors(i) {
			part := ExpertPart{layers[i].Parts[p][0].Tensor.DType, shape.Rows, shape.Cols}
			x.parts[i] = append(x.parts[i], part)
			for e, s := range layers[i].Parts[p] {
				file, off, ok := s.Tensor.Place()
				start, known := starts[file]
				if !ok || !known || s.Step != 1 || s.Tensor.DType != part.DType || part.Cols%part.DType.BlockElems() != 0 {
					return fmt.Errorf("%s of expert %d, tensor %q of %s: %w", shape.Name, e, s.Tensor.Name, s.Tensor.Stored, ErrNotInPlace)
				}
				x.placed[i][p] = append(x.placed[i][p], start+off+s.First*part.DType.RowBytes(part.Cols))
			}
		}
	}
	return nil
}

// isExperts reports whether a part of the experts is called name and has the type t.
func (l *Layout) isExperts(name string, t tensor.DType) bool {
	for i, parts := range l.experts.parts {
		for j, x := range l.profile.ExpertTensors(i) {
			if x.Name == name {
				return parts[j].DType == t
			}
		}
	}
	return false
}

// OfMLP reports whether a tensor of this name belongs to an MLP or an expert.
func OfMLP(name string) bool {
	return strings.Contains(name, ".mlp.") || strings.Contains(name, ".moe.experts.") || strings.Contains(name, ".moe.shared.")
}

// IsRouter reports whether a tensor of this name chooses experts, or weighs the one
// that all tokens use. It is kept in full, so that quantised weights name the same ones.
func IsRouter(name string) bool {
	return strings.HasSuffix(name, ".moe.router.weight") || strings.HasSuffix(name, ".moe.shared_gate.weight")
}

// ExpertShapes are the parts of a layer's experts as matrices of one expert each.
func ExpertShapes(p config.ModelProfile, layer int) (shapes []config.TensorShape) {
	for _, x := range p.ExpertTensors(layer) {
		shapes = append(shapes, config.TensorShape{Name: x.Name, Rows: x.Rows, Cols: x.Cols})
	}
	return shapes
}

// ExpertCRC is the CRC-32C of an expert of a layer, over its whole stride.
func (p *Pack) ExpertCRC(layer, expert int) uint32 {
	return p.unitCRC[p.experts.before[layer]+expert]
}

// CheckExpert checks the bytes read for one expert, its whole stride.
func (p *Pack) CheckExpert(layer, expert int, b []byte) error {
	return p.checkExpert(layer, expert, checksum(b))
}

func (p *Pack) checkExpert(layer, expert int, got uint32) error {
	want := p.ExpertCRC(layer, expert)
	if got == want {
		return nil
	}
	return &DamageError{
		Path: p.path, Part: fmt.Sprintf("%s, expert %d", expertsName(layer), expert), Offset: p.ExpertOffset(layer, 0, expert),
		Bytes: p.ExpertStride(layer), Detail: differs(got, want),
	}
}

// An ExpertWriter writes one expert of a pack, in pieces: gate, up and down one after
// the other, each row after row.
type ExpertWriter struct {
	w             *Writer
	layer, expert int
	at, end       int64
	crc           uint32
}

// Expert begins an expert of a layer. Close ends it.
func (w *Writer) Expert(layer, expert int) (*ExpertWriter, error) {
	if layer < 0 || layer >= w.profile.Layers || expert < 0 || expert >= w.profile.MoE(layer).Experts {
		return nil, w.fail(fmt.Errorf("layer %d: got expert %d, want one of the layer's", layer, expert))
	}
	at := w.ExpertOffset(layer, 0, expert)
	return &ExpertWriter{w: w, layer: layer, expert: expert, at: at, end: at + w.ExpertBytes(layer)}, nil
}

// Write writes the next bytes.
func (x *ExpertWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > x.end-x.at {
		return 0, x.w.fail(fmt.Errorf("%s: got %d bytes of expert %d more than its %d", expertsName(x.layer), int64(len(p))-(x.end-x.at), x.expert, x.w.ExpertBytes(x.layer)))
	}
	if err := x.w.write(expertsName(x.layer), x.at, p); err != nil {
		return 0, err
	}
	x.crc = crc32.Update(x.crc, crc32.MakeTable(crc32.Castagnoli), p)
	x.at += int64(len(p))
	return len(p), nil
}

// Close ends an expert that is whole.
func (x *ExpertWriter) Close() error {
	if left := x.end - x.at; left > 0 {
		return x.w.fail(fmt.Errorf("%s: got %d bytes of expert %d, want %d", expertsName(x.layer), x.w.ExpertBytes(x.layer)-left, x.expert, x.w.ExpertBytes(x.layer)))
	}
	x.end = x.w.ExpertOffset(x.layer, 0, x.expert) + x.w.ExpertStride(x.layer)
	if _, err := x.Write(make([]byte, x.end-x.at)); err != nil {
		return err
	}
	return x.w.claim(expertsName(x.layer), x.w.unitDone, x.w.unitCRC, x.w.experts.before[x.layer]+x.expert, []uint32{x.crc})
}
