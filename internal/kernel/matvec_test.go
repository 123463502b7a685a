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
	arenas := quantArenas(t, 17*32)
	rng := rand.New(rand.NewPCG(25, 26))
	for n := 0; n <= 17*32; n += 32 {
		for _, special := range []int{0, 500, 20} {
			in := randomQuant(rng, 4*n, special)
			a := [4]float32{1, -0.25, float32(rng.NormFloat64()), 3}
			for _, s := range All() {
				for _, k := range []struct {
					name  string
					block int
					w     []byte
					axpy4 func(y []float32, a *[4]float32, w *[4][]byte, next *[4]*byte)
					axpy  func(y []float32, a float32, w []byte, next *byte)
				}{
					{"Axpy4Q8", q8Bytes, in.q8, s.Axpy4Q8, Go().AxpyQ8},
					{"Axpy4Q4", q4Bytes, in.q4, s.Axpy4Q4, Go().AxpyQ4},
				} {
					rowBytes := n / tensor.QuantBlock * k.block
					var w [4][]byte
					var next [4]*byte
					want := append([]float32(nil), in.y[:n]...)
					for i := range w {
						w[i] = place(arenas[i], k.w[i*rowBytes:(i+1)*rowBytes], 0, false)
						k.axpy(want, a[i], w[i], nil)
					}
					y := guard(arenas[4], in.y[:n], 3, false)
					k.axpy4(y, &a, &w, &next)
					checkGuard(t, k.name, arenas[4], y)
					report(t, s.Name, n, []outputs{{k.name, floatBits(y)}}, []outputs{{k.name, floatBits(want)}})
				}
			}
		}
	}
}
