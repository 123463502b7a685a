package kernel

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The shape of a product of many rows with many tokens: Gemm.Multiply takes two
// panels of PanelRows rows and GemmTokens tokens.
const (
	PanelRows  = 16
	GemmRows   = 2 * PanelRows
	GemmTokens = 8
)

const (
	spreadRow  = 640 // bytes of a chunk of a row: codes, scales, second scales or least values
	panelChunk = PanelRows * spreadRow
	blockSums  = GemmTokens * GemmRows // of a block
)

// Gemm multiplies many rows of one type with many tokens. Rows are laid out in
// panels first. Each product has the bits that Dot gives.
type Gemm struct {
	dt         tensor.DType
	spread     func(dst, w []byte)
	interleave func(dst, src *[panelChunk]byte)
	multiply   func(acc, w, w2, x *byte, stride, blocks int, zero uint32)
	end        func(out, acc *byte)
	zero       uint32 // what two sums of activations are multiplied with, as int16
}

// GemmSpace is one thread's memory for a Gemm.
type GemmSpace struct {
	// Out is what Multiply computes: [GemmTokens, GemmRows].
	Out [GemmTokens * GemmRows]float32

	sums   [chunkBlocks * blockSums]float32
	spread [panelChunk]byte
	chunk  [1024]byte // the last one of a row, if it is not whole
}

// PanelBytes is the size of a panel of rows of n elements.
func PanelBytes(n int) int { return (n + chunkElems - 1) / chunkElems * panelChunk }

// Panel lays the rows w, all of the length of the first, out in dst, PanelBytes
// long.
func (g *Gemm) Panel(dst []byte, w *[PanelRows][]byte, s *GemmSpace) {
	size := int(g.dt.RowBytes(chunkElems))
	for at := 0; at < len(w[0]); at += size {
		for i, row := range w {
			chunk := row[at:min(at+size, len(row))]
			if len(chunk) < size {
				clear(s.chunk[copy(s.chunk[:size], chunk):size])
				chunk = s.chunk[:size]
			}
			g.spread(s.spread[i*spreadRow:][:spreadRow], chunk)
		}
		g.interleave((*[panelChunk]byte)(dst), &s.spread)
		dst = dst[panelChunk:]
	}
}

// Multiply sets s.Out to the products of the rows of two panels, of n elements,
// with GemmTokens records of activations, which begin stride bytes apart.
func (g *Gemm) Multiply(panels [2][]byte, n int, x []byte, stride int, s *GemmSpace) {
	clear(s.sums[:])
	for c := 0; c*chunkElems < n; c++ {
		blocks := min(chunkBlocks, n/tensor.QuantBlock-c*chunkBlocks)
		g.multiply(address(s.sums[:]), &panels[0][c*panelChunk], &panels[1][c*panelChunk], &x[c*roundBytes], stride, blocks, g.zero)
	}
	g.end(address(s.Out[:]), address(s.sums[:]))
}

func address(v []float32) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(v))) }
