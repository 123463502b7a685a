package pack

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// version is the layout's version, the metadata string sparseflow.version.
const version = "2"

const (
	pageBytes    = 4096    // alignment of resident tensors, of the first bundle and of the file's size
	sectorBytes  = 512     // least alignment of bundles: the smallest sector of any disk
	blockBytes   = 1 << 20 // most bytes of one checked block, unless one row is longer
	headCRCs     = 3       // used entries of crc.head: header, crc.blocks, and crc.bundles or crc.experts
	maxMetaBytes = 4096    // longest name and source hash
)

// Names of the tables, as tensors of the file.
const (
	blocksTable  = "crc.blocks"
	bundlesTable = "crc.bundles" // or, where the units are experts:
	expertsTable = "crc.experts"
	headTable    = "crc.head"
)

// padPrefix starts the name of padding.
const padPrefix = "pad."

// tokenizerPrefix starts the name of a tokenizer file's tensor.
const tokenizerPrefix = "tokenizer/"

// TokenizerGGUF is the tokenizer file of a pack made from GGUF: the metadata that
// say how text becomes ids, as a GGUF file without tensors.
const TokenizerGGUF = "tokenizer.gguf"

// TokenizerFiles lists the files that a pack carries so that it runs alone, in
// the order they are stored in.
func TokenizerFiles() []string {
	return []string{
		"vocab.json", "merges.txt", "tokenizer.json",
		"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
		TokenizerGGUF,
	}
}

// Kind is what a resident tensor is for.
type Kind uint8

// The kinds of resident tensors.
const (
	Matrix    Kind = iota // embeddings, projections, head, MLPs that are no bundles
	Vector                // biases and norms, F32
	Sketch                // 4-bit rows of fc1 and their scales
	Tokenizer             // a file of the tokenizer
	Order                 // which neuron each bundle of a layer is, U32
)

// A Tensor is one resident tensor of a pack: Rows rows of RowBytes bytes from
// Offset on, under one checksum per block of BlockRows rows. A vector is one
// row. It is a plain value.
type Tensor struct {
	Name      string
	Kind      Kind
	DType     string       // as safetensors names it: F32, F16, BF16 or U8, also for quantised rows
	Elem      tensor.DType // of a Matrix or a Vector
	Rows      int
	Cols      int   // elements of a row
	RowBytes  int64 // rows are contiguous
	Offset    int64 // of the first byte in the pack's files; of a .sflow file a multiple of 4096
	BlockRows int   // rows of a block; the last block may have fewer

	firstBlock int  // index of block 0 in crc.blocks
	flat       bool // stored with one dimension
}

// Bytes is the size of the whole tensor.
func (t Tensor) Bytes() int64 { return int64(t.Rows) * t.RowBytes }

// MemoryBytes is what it takes in memory: norms and biases are float32 there.
func (t Tensor) MemoryBytes() int64 {
	if t.Kind == Vector {
		return tensor.F32.RowBytes(t.Cols)
	}
	return t.Bytes()
}

// Blocks is the number of checked blocks.
func (t Tensor) Blocks() int { return (t.Rows + t.BlockRows - 1) / t.BlockRows }

// Block is the first row of block b and the number of its rows.
func (t Tensor) Block(b int) (row, rows int) {
	row = b * t.BlockRows
	return row, min(t.BlockRows, t.Rows-row)
}

// blockSpan is where block b lies in the file.
func (t Tensor) blockSpan(b int) (offset, n int64) {
	row, rows := t.Block(b)
	return t.Offset + int64(row)*t.RowBytes, int64(rows) * t.RowBytes
}

func (t Tensor) shape() []int64 {
	switch {
	case t.Kind == Matrix && t.Elem.Quantised():
		return []int64{int64(t.Rows), t.RowBytes}
	case !t.flat:
		return []int64{int64(t.Rows), int64(t.Cols)}
	case t.Rows > 1:
		return []int64{int64(t.Rows)}
	}
	return []int64{int64(t.Cols)}
}

// A Spec is all that determines a pack's layout.
type Spec struct {
	Profile config.ModelProfile
	Name    string       // of the model, for people
	Attn    tensor.DType // of matrices outside MLPs; F16 for rows that its blocks do not fill
	MLP     tensor.DType // of bundles, whose parts its blocks must fill, or of MLPs' matrices
	// Types holds the element types of matrices that are not their class's.
	Types map[string]tensor.DType
	// Tokenizer holds the tokenizer's files, by a name of TokenizerFiles.
	Tokenizer map[string][]byte
	// Ordered is whether bundles lie in an order of their own, which the pack
	// then holds; otherwise in that of the checkpoint.
	Ordered bool
	// Align is the alignment of bundles, a power of two from 512 to 4096.
	// Zero: what the target's file system asks of direct reads.
	Align int64
}

// Layout lays the pack out, with bundles aligned to 512 if Align is zero.
func (s Spec) Layout() (*Layout, error) {
	if s.Align == 0 {
		s.Align = sectorBytes
	}
	if s.Align < sectorBytes || s.Align > pageBytes || bits.OnesCount64(uint64(s.Align)) != 1 {
		return nil, fmt.Errorf("pack: layout: got alignment %d, want 512, 1024, 2048 or 4096", s.Align)
	}
	files := make(map[string]int64, len(s.Tokenizer))
	for name, b := range s.Tokenizer {
		files[name] = int64(len(b))
	}
	if err := s.Profile.Validate(); err != nil {
		return nil, fmt.Errorf("pack: layout: %w", err)
	}
	l, err := newLayout(description{
		profile:   s.Profile,
		name:      s.Name,
		attn:      s.Attn,
		mlp:       s.MLP,
		types:     s.Types,
		stride:    alignUp(s.Profile.BundleBytes(s.MLP), s.Align),
		tokenizer: files,
		ordered:   s.Ordered,
	})
	if err != nil {
		return nil, err
	}
	header, err := l.header("")
	if err != nil {
		return nil, err
	}
	l.shift(int64(len(header)))
	return l, nil
}

// A description is what metadata and tokenizer sizes say: all that the layout
// is computed from.
type description struct {
	profile   config.ModelProfile // valid
	name      string
	source    string // SHA-256 of the checkpoint, in hexadecimal
	attn, mlp tensor.DType
	types     map[string]tensor.DType // of matrices whose type is not their class's
	stride    int64
	tokenizer map[string]int64 // bytes by file name
	ordered   bool

	inPlace        bool  // the pack is files of others: no bundles, no checksums
	tokenizerBytes int64 // in place: of what the tokenizer is read from
}

// A Layout is what a pack holds and where: that of an open pack, or of one
// that a Spec would make.
type Layout struct {
	description
	tensors []Tensor // resident ones, in file order
	experts experts
	byName  map[string]int            // index in tensors
	entries []source.SafetensorsEntry // everything in the file, in file order
	pads    int                       // how many entries are padding
	blocks  int                       // entries of crc.blocks

	blocksOffset, unitsOffset, headOffset int64 // of the tables
	bundles                               int64 // offset of the first bundle
	size                                  int64 // of the file
}

// BundleType is the type of neurons with rows of n elements where their weights
// are to be of type d. A neuron is added to some columns of the output, so its
// blocks have to be small: super blocks make way for a type of about their bits.
func BundleType(d tensor.DType, n int) tensor.DType {
	switch d {
	case tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0, tensor.Q4_0:
	default:
		bits := d.RowBytes(tensor.SuperBlock)
		if d = tensor.Q8_0; bits <= tensor.Q4_K.RowBytes(tensor.SuperBlock) {
			d = tensor.Q4_0
		}
	}
	return d.OfRow(n)
}

// newLayout lays out a described model, with offsets that count from the end of
// the header until shift. It allocates in proportion to the number of layers,
// which a valid profile bounds.
func newLayout(d description) (*Layout, error) {
	if !d.attn.Valid() || !d.mlp.Valid() {
		return nil, fmt.Errorf("pack: layout: got element types %v and %v, want ones of package tensor", d.attn, d.mlp)
	}
	if want := BundleType(d.mlp, d.profile.HiddenSize); d.profile.Sparse() && d.mlp != want {
		return nil, fmt.Errorf("pack: layout: got bundles of %v with rows of %d elements, want %v", d.mlp, d.profile.HiddenSize, want)
	}
	if len(d.name) > maxMetaBytes || len(d.source) > maxMetaBytes {
		return nil, fmt.Errorf("pack: layout: got a name or source of over %d bytes", maxMetaBytes)
	}
	if least := d.profile.BundleBytes(d.mlp); d.stride < least || d.stride >= least+pageBytes || d.stride%sectorBytes != 0 {
		return nil, fmt.Errorf("pack: layout: got bundle stride %d, want a multiple of %d from %d to %d",
			d.stride, sectorBytes, least, least+pageBytes-1)
	}
	known := TokenizerFiles()
	for name, n := range d.tokenizer {
		if !slices.Contains(known, name) || n <= 0 || n >= 1<<40 {
			return nil, fmt.Errorf("pack: layout: got tokenizer file %q of %d bytes, want one of %q, not empty", name, n, known)
		}
	}
	l := &Layout{description: d, byName: make(map[string]int)}
	l.residents()
	l.describeExperts()
	for name, t := range d.types {
		if x, ok := l.Tensor(name); l.isExperts(name, t) {
			continue
		} else if !ok || x.Kind != Matrix || x.Elem != t {
			return nil, fmt.Errorf("pack: layout: got element type %v for %.200q, want a matrix of the model and a type that fills its rows", t, name)
		}
	}
	for _, name := range known {
		if n := d.tokenizer[name]; n > 0 {
			l.tensor(Tensor{Name: tokenizerPrefix + name, Kind: Tokenizer, DType: "U8", Rows: int(n), Cols: 1, RowBytes: 1, flat: true})
		}
	}
	layers, ffn := int64(d.profile.Layers), int64(d.profile.BundledNeurons())
	l.blocksOffset = l.entry(blocksTable, "U32", []int64{int64(l.blocks)}, 4*int64(l.blocks))
	if ffn > 0 {
		l.unitsOffset = l.entry(bundlesTable, "U32", []int64{layers, ffn}, 4*layers*ffn)
	}
	if n := int64(l.experts.number); n > 0 {
		l.unitsOffset = l.entry(expertsTable, "U32", []int64{n}, 4*n)
	}
	l.pad()
	l.bundles = l.size
	for i := range d.profile.Layers {
		if ffn == 0 {
			break
		}
		l.entry(bundlesName(i), "U8", []int64{ffn, d.stride}, ffn*d.stride)
	}
	l.placeExperts()
	l.pad()
	l.headOffset = l.entry(headTable, "U32", []int64{pageBytes / 4}, pageBytes)
	return l, nil
}

// residents lays out the tensors that the profile demands.
func (l *Layout) residents() {
	l.shapes(l.profile.SharedTensors())
	for i := range l.profile.Layers {
		l.layer(i)
	}
}

func (l *Layout) layer(layer int) {
	p := l.profile
	l.shapes(p.LayerTensors(layer))
	prefix := "layers." + strconv.Itoa(layer) + "."
	if p.Sparse() {
		row := SketchBytes(p.HiddenSize)
		l.tensor(Tensor{Name: prefix + "mlp.sketch", Kind: Sketch, DType: "U8", Rows: p.FFN, Cols: row, RowBytes: int64(row)})
		l.tensor(Tensor{Name: prefix + "mlp.sketch_scale", Kind: Sketch, DType: "F32", Rows: p.FFN, Cols: 1, RowBytes: 4, flat: true})
	}
	if l.ordered && p.Sparse() {
		l.tensor(Tensor{Name: orderName(layer), Kind: Order, DType: "U32", Rows: 1, Cols: p.FFN, RowBytes: 4 * int64(p.FFN), flat: true})
	}
}

func (l *Layout) shapes(shapes []config.TensorShape) {
	for _, s := range shapes {
		if s.Vector {
			n := max(1, s.Rows) * s.Cols
			l.tensor(Tensor{Name: s.Name, Kind: Vector, DType: "F32", Elem: tensor.F32, Rows: 1, Cols: n, RowBytes: tensor.F32.RowBytes(n), flat: true})
			continue
		}
		elem := l.elem(s)
		dtype := elem.String()
		if elem.Quantised() {
			dtype = "U8" // safetensors knows no blocks
		}
		l.tensor(Tensor{Name: s.Name, Kind: Matrix, DType: dtype, Elem: elem, Rows: s.Rows, Cols: s.Cols, RowBytes: elem.RowBytes(s.Cols)})
	}
}

// elem is the element type of a matrix.
func (l *Layout) elem(s config.TensorShape) tensor.DType {
	t, ok := l.types[s.Name]
	switch {
	case ok:
	case IsRouter(s.Name):
		t = tensor.F32
	case OfMLP(s.Name):
		t = l.mlp
	default:
		t = l.attn
	}
	return t.OfRow(s.Cols)
}

// tensor places a resident tensor after what there is, at the next page.
func (l *Layout) tensor(t Tensor) {
	l.pad()
	t.BlockRows = int(max(1, blockBytes/t.RowBytes))
	t.firstBlock = l.blocks
	l.blocks += t.Blocks()
	t.Offset = l.entry(t.Name, t.DType, t.shape(), t.Bytes())
	l.byName[t.Name] = len(l.tensors)
	l.tensors = append(l.tensors, t)
}

// pad fills the file with zeros up to the next page.
func (l *Layout) pad() {
	if n := alignUp(l.size, pageBytes) - l.size; n > 0 {
		l.entry(padPrefix+strconv.Itoa(l.pads), "U8", []int64{n}, n)
		l.pads++
	}
}

// entry places n bytes and returns their offset.
func (l *Layout) entry(name, dtype string, shape []int64, n int64) int64 {
	off := l.size
	l.entries = append(l.entries, source.SafetensorsEntry{Name: name, DType: dtype, Shape: shape, Offset: off, Bytes: n})
	l.size += n
	return off
}

// shift makes offsets count from the start of the file, now that the header is
// known to be n bytes long.
func (l *Layout) shift(n int64) {
	for i := range l.tensors {
		l.tensors[i].Offset += n
	}
	for i := range l.entries {
		l.entries[i].Offset += n
	}
	for _, off := range []*int64{&l.blocksOffset, &l.unitsOffset, &l.bundles, &l.headOffset, &l.size} {
		*off += n
	}
	for i := range l.experts.at {
		l.experts.at[i] += n
	}
}

// units is how many bundles or experts there are, each under a checksum.
func (l *Layout) units() int64 { return l.profile.Bundles() + int64(l.experts.number) }

// unitsTable is the name of the table of their checksums.
func (l *Layout) unitsTable() string {
	if l.experts.number > 0 {
		return expertsTable
	}
	return bundlesTable
}

// bundleOffset is where bundle i of a layer starts.
func (l *Layout) bundleOffset(layer, i int) int64 {
	return l.bundles + (int64(layer)*int64(l.profile.FFN)+int64(i))*l.stride
}

func bundlesName(layer int) string { return "layers." + strconv.Itoa(layer) + ".mlp.bundles" }

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
