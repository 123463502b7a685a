package kernel

import "unsafe"

// The shape of a tile: Set.TileF32 multiplies TileRows weight rows with
// TileTokens activation rows, and Set.Outer adds to TileTokens rows of OuterCols
// elements. With AVX-512 either keeps 24 registers of sums, enough
// to hide the latency of their additions, and loads 10 others for them.
const (
	TileRows   = 4
	TileTokens = 6
	OuterCols  = 128
)

// run is how many elements of a row lie together in a panel.
const run = 16

// quarter is how many of the runs q, q+4, ... there are in n elements.
func quarter(n, q int) int { return (n/run + 3 - q) / 4 }

func panelRow(panel []float32, j int, x []float32) {
	at := j * run
	for q := range lanes / run {
		for s := range quarter(len(x), q) {
			copy(panel[at:], x[s*lanes+q*run:][:run])
			at += TileTokens * run
		}
	}
	for k := len(x) &^ (run - 1); k < len(x); k++ {
		panel[k*TileTokens+j] = x[k]
	}
}

func tileF32(out *[TileRows * TileTokens]float32, w *[TileRows][]float32, panel []float32) {
	n := len(w[0])
	rest := n &^ (run - 1)
	for i, row := range w {
		var acc [TileTokens][lanes]float32
		x := panel
		for q := range lanes / run {
			for s := range quarter(n, q) {
				for l, v := range row[s*lanes+q*run:][:run] {
					for j := range acc {
						a := &acc[j][q*run+l]
						*a = fma32(v, x[j*run+l], *a)
					}
				}
				x = x[TileTokens*run:]
			}
		}
		for j := range acc {
			sum := halve(&acc[j])
			for k := rest; k < n; k++ {
				sum = fma32(row[k], panel[k*TileTokens+j], sum)
			}
			out[i*TileTokens+j] = sum
		}
	}
}

func outer(y []float32, stride int, h []float32, hStride int, w []float32) {
	for i := range len(w) / OuterCols {
		row := w[i*OuterCols:][:OuterCols]
		for j := range TileTokens {
			axpy[elemF32](y[j*stride:], h[i*hStride+j], Bytes(row), nil)
		}
	}
}

func outerAt(y []float32, h []float32, rows []int32, w []float32) {
	for i, r := range rows {
		axpy[elemF32](y, h[i], Bytes(w[int(r)*OuterCols:][:OuterCols]), nil)
	}
}

// rowsF32 makes a RowsF32 of a Dot.
func rowsF32(dot func(w, x []byte, next *byte) float32) func(*[TileRows]float32, *[TileRows][]float32, []float32) {
	return func(out *[TileRows]float32, w *[TileRows][]float32, x []float32) {
		for i, row := range w {
			next := Bytes(w[(i+1)%TileRows])
			out[i] = dot(Bytes(row), Bytes(x), unsafe.SliceData(next))
		}
	}
}
