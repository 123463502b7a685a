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
	spread     func(dst *[panelChunk]byte, rows *[PanelRows][]byte, at, ahead int)
	interleave func(dst, src *[panelChunk]byte)
	multiply   func(acc, w, w2, x *byte, stride, blocks int, zero uint32, fresh bool)
	end        func(out, acc *byte)
	zero       uint32 // what two sums of activations are multiplied with, as int16
}

// GemmSpace is one thread's memory for a Gemm.
type GemmSpace struct {
	// Out is what Multiply computes: [GemmTokens, GemmRows].
	Out [GemmTokens * GemmRows]float32

	sums   [chunkBlocks * blockSums]float32
	spread [panelChunk]byte
	tails  [PanelRows][]byte // the last chunks of rows, in rest where memory ends within them
	rest   [PanelRows][1024]byte
}

// PanelBytes is the size of a panel of rows of n elements.
func PanelBytes(n int) int { return (n + chunkElems - 1) / chunkElems * panelChunk }

// Panel lays the rows w, all of the length of the first, out in dst, PanelBytes
// long. It asks for the rows that follow two panels of them.
func (g *Gemm) Panel(dst []byte, w *[PanelRows][]byte, s *GemmSpace) {
	size, n := int(g.dt.RowBytes(chunkElems)), len(w[0])
	for at := 0; at < n; at += size {
		if at+size <= n {
			g.spread(&s.spread, w, at, GemmRows*n)
		} else {
			g.tail(w, at, s)
		}
		g.interleave((*[panelChunk]byte)(dst), &s.spread)
		dst = dst[panelChunk:]
	}
}

// tail spreads the last chunk of each row, which is not whole, with what follows it in
// memory: Multiply takes but the blocks that count.
func (g *Gemm) tail(w *[PanelRows][]byte, at int, s *GemmSpace) {
	size := int(g.dt.RowBytes(chunkElems))
	for i, row := range w {
		if s.tails[i] = row[at:]; cap(s.tails[i]) < size {
			s.tails[i] = s.rest[i][:copy(s.rest[i][:], row[at:])]
		}
	}
	g.spread(&s.spread, &s.tails, 0, GemmRows*len(w[0]))
	clear(s.tails[:])
}

// Multiply sets s.Out to the products of the rows of two panels, of n elements,
// with GemmTokens records of activations, which begin stride bytes apart.
func (g *Gemm) Multiply(panels [2][]byte, n int, x []byte, stride int, s *GemmSpace) {
	if n < chunkElems {
		clear(s.sums[:])
	}
	for c := 0; c*chunkElems < n; c++ {
		blocks := min(chunkBlocks, n/tensor.QuantBlock-c*chunkBlocks)
		g.multiply(address(s.sums[:]), &panels[0][c*panelChunk], &panels[1][c*panelChunk], &x[c*roundBytes], stride, blocks, g.zero, c == 0 && blocks == chunkBlocks)
	}
	g.end(address(s.Out[:]), address(s.sums[:]))
}

func address(v []float32) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(v))) }
