package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// TestMatVec compares MatVec with plain Go's Dot of each row, bit for bit, and
// sees that it reads and writes nothing else.
func TestMatVec(t *testing.T) {
	const most = 5 * 300 * 4
	arenas := []*arena{newArena(t, most), newArena(t, most), newArena(t, most), newArena(t, most), newArena(t, most)}
	rng := rand.New(rand.NewPCG(21, 22))
	plain := Go()
	for _, rows := range []int{0, 1, 2, 5} {
		for _, n := range []int{0, 1, 15, 16, 17, 63, 64, 65, 80, 127, 128, 129, 300} {
			in := random(rng, max(1, rows)*n, n, 0)
			x := in.x[:n]
			want := [3][]float32{make([]float32, rows), make([]float32, rows), make([]float32, rows)}
			for i := range rows {
				lo, hi := i*n, (i+1)*n
				want[0][i] = plain.DotF32(in.w32[lo:hi], x, nil)
				want[1][i], want[2][i] = plain.DotF16(in.w16[lo:hi], x, nil), plain.DotBF16(in.w16[lo:hi], x, nil)
			}
			for _, s := range All() {
				for k, mul := range []func(y []float32){
					func(y []float32) {
						s.MatVecF32(y, place(arenas[0], in.w32[:rows*n], 0, false), place(arenas[1], x, 0, false))
					},
					func(y []float32) {
						s.MatVecF16(y, place(arenas[2], in.w16[:rows*n], 0, false), place(arenas[1], x, 0, false))
					},
					func(y []float32) {
						s.MatVecBF16(y, place(arenas[2], in.w16[:rows*n], 0, false), place(arenas[1], x, 0, false))
					},
				} {
					y := guard(arenas[4], make([]float32, rows), 3, false)
					mul(y)
					checkGuard(t, "MatVec", arenas[4], y)
					report(t, s.Name, n, []outputs{{"MatVec", floatBits(y)}}, []outputs{{"MatVec", floatBits(want[k])}})
				}
			}
		}
	}
}

// TestMatVecQuant is TestMatVec for quantised rows, the last of which ends where
// memory does.
func TestMatVecQuant(t *testing.T) {
	arenas := quantArenas(t, 5*(17*32))
	rng := rand.New(rand.NewPCG(23, 24))
	for _, rows := range []int{0, 1, 2, 5} {
		for n := 0; n <= 17*32; n += 32 {
			in := randomQuant(rng, max(1, rows)*n, 0)
			for _, s := range All() {
				for _, k := range []struct {
					name  string
					block int
					zero  int32
					w     []byte
					mul   func(y []float32, w []byte, rowBytes int, x []byte)
					dot   func(w, x []byte, next *byte) float32
				}{
					{"MatVecQ8", q8Bytes, ZeroQ8, in.q8, s.MatVecQ8, Go().DotQ8},
					{"MatVecQ4", q4Bytes, ZeroQ4, in.q4, s.MatVecQ4, Go().DotQ4},
				} {
					rowBytes := n / tensor.QuantBlock * k.block
					records := bytes.Repeat([]byte{0x5a}, QuantXBytes(n))
					Go().QuantizeX(records, in.x[:n], k.zero)
					records = place(arenas[0], records, 0, false)
					w := place(arenas[1], k.w[:rows*rowBytes], 0, false)
					want := make([]float32, rows)
					for i := range want {
						want[i] = k.dot(w[i*rowBytes:(i+1)*rowBytes], records, nil)
					}
					y := guard(arenas[2], make([]float32, rows), 3, false)
					k.mul(y, w, rowBytes, records)
					checkGuard(t, k.name, arenas[2], y)
					report(t, s.Name, n, []outputs{{k.name, floatBits(y)}}, []outputs{{k.name, floatBits(want)}})
				}
			}
		}
	}
}

// TestAxpy4 compares Axpy4 with plain Go's Axpy of each row, bit for bit, and
// sees that it reads and writes nothing else.
func TestAxpy4(t *testing.T) {
	const most = 17 * 32
	arenas := quantArenas(t, most)
	rng := rand.New(rand.NewPCG(25, 26))
	plain := Go()
	for n := 0; n <= most; n++ {
		if n > 130 && n%tensor.QuantBlock > 1 {
			continue
		}
		for _, special := range []int{0, 500, 20} {
			q := randomQuant(rng, 4*(n-n%tensor.QuantBlock), special)
			in := random(rng, 4*n, n, special)
			a := [4]float32{1, -0.25, float32(rng.NormFloat64()), 3}
			for _, s := range All() {
				check := func(name string, n int, w []byte, axpy4 func([]float32, *[4]float32, *[4][]byte, *[4]*byte), axpy func(y []float32, a float32, i int)) {
					var rows [4][]byte
					var next [4]*byte
					want := append([]float32(nil), in.y[:n]...)
					for i := range rows {
						rows[i] = place(arenas[i], w[i*len(w)/4:(i+1)*len(w)/4], 0, false)
						axpy(want, a[i], i)
					}
					y := guard(arenas[4], in.y[:n], 3, false)
					axpy4(y, &a, &rows, &next)
					checkGuard(t, name, arenas[4], y)
					report(t, s.Name, n, []outputs{{name, floatBits(y)}}, []outputs{{name, floatBits(want)}})
				}
				check("Axpy4F32", n, bytesOf(in.w32[:4*n]), s.Axpy4F32, func(y []float32, a float32, i int) { plain.AxpyF32(y, a, in.w32[i*n:(i+1)*n], nil) })
				check("Axpy4F16", n, bytesOf(in.w16[:4*n]), s.Axpy4F16, func(y []float32, a float32, i int) { plain.AxpyF16(y, a, in.w16[i*n:(i+1)*n], nil) })
				check("Axpy4BF16", n, bytesOf(in.w16[:4*n]), s.Axpy4BF16, func(y []float32, a float32, i int) { plain.AxpyBF16(y, a, in.w16[i*n:(i+1)*n], nil) })
				if n%tensor.QuantBlock != 0 {
					continue
				}
				q8, q4 := n/tensor.QuantBlock*q8Bytes, n/tensor.QuantBlock*q4Bytes
				check("Axpy4Q8", n, q.q8[:4*q8], s.Axpy4Q8, func(y []float32, a float32, i int) { plain.AxpyQ8(y, a, q.q8[i*q8:(i+1)*q8], nil) })
				check("Axpy4Q4", n, q.q4[:4*q4], s.Axpy4Q4, func(y []float32, a float32, i int) { plain.AxpyQ4(y, a, q.q4[i*q4:(i+1)*q4], nil) })
			}
		}
	}
}
