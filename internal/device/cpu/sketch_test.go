package cpu_test

import (
	"math"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Codes in planes stand for what lies around their middle, whatever is in the
// row's last block beyond its elements.
func TestSketchPlanes(t *testing.T) {
	for _, s := range []struct{ tokens, rows, cols, bits int }{{1, 37, 60, 3}, {5, 37, 300, 3}, {130, 7, 256, 3}, {6, 65, 768, 3}} {
		r := newRandom(uint64(s.tokens + s.cols))
		w := device.SketchMat{Bits: s.bits, RowBytes: kernel.Sketch3Bytes(s.cols), Rows: s.rows, Cols: s.cols, Scales: r.floats(s.rows), Bias: r.floats(s.rows)}
		w.Codes = make([]byte, s.rows*w.RowBytes)
		codes := make([][]byte, s.rows)
		for i := range codes {
			codes[i] = make([]byte, w.RowBytes*8/s.bits)
			for k := range codes[i] {
				codes[i][k] = byte(r.IntN(1 << s.bits))
			}
			kernel.PackSketch3(w.Codes[i*w.RowBytes:(i+1)*w.RowBytes], codes[i])
		}
		x := r.act(s.tokens, s.cols)
		want := newExact(s.tokens, s.rows)
		q := make([]int8, s.cols)
		for i := range s.tokens {
			scale, _ := kernel.Go().QuantizeS8(q, x.Row(i))
			for j := range s.rows {
				sum := 0.0
				for k, v := range q {
					sum += (float64(codes[j][k]) - float64(int(1)<<s.bits-1)/2) * float64(v)
				}
				value := sum * float64(scale) * float64(w.Scales[j])
				bound := 3 * u * math.Abs(value)
				value += float64(w.Bias[j])
				want.set(i, j, value, 1.01*(bound+u*math.Abs(value)))
			}
		}
		oracleY := emptyAct(s.tokens, s.rows)
		oracle(func(b device.Backend) { b.Sketch(oracleY, x, w) })
		backends(t, func(t *testing.T, b device.Backend) {
			y := emptyAct(s.tokens, s.rows)
			// What an earlier, larger product left behind must not count.
			b.Sketch(emptyAct(140, 1), r.act(140, 640), device.SketchMat{Codes: make([]byte, 320), Scales: w.Scales[:1], RowBytes: 320, Rows: 1, Cols: 640})
			b.Sketch(y, x, w)
			check(t, y, want)
			sameBits(t, "against the oracle", y, oracleY)
			single := emptyAct(s.tokens, s.rows)
			for i := range s.tokens {
				b.Sketch(single.Rowspan(i, 1), x.Rowspan(i, 1), w)
			}
			sameBits(t, "one token at a time", single, y)
		})
	}
}
