package synth

import (
	"math"
	"math/rand/v2"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/kernel"
)

const (
	// kappa is the variance of the residual stream along the basis, of 1 on
	// average in all directions.
	kappa = 2.44
	// beta is the share of a neuron's first half that lies along the basis.
	// With kappa it makes pre-activations to 0.83 predictable at the basis's
	// rank.
	beta = 0.667
)

// rank is the number of directions that the residual stream prefers.
func rank(d int) int { return max(1, d/32) }

// space draws vectors of d elements in relation to a basis of few directions,
// in which the residual stream varies more than in others: its covariance is
// C = kappa U U^T + rest (I - U U^T), of trace d.
type space struct {
	d, rank int
	seed    uint64
	basis   []float32 // U, [d, rank]: columns orthonormal, orthogonal to the ones vector
	table   *normalTable
	set     kernel.Set
}

func newSpace(d int, seed uint64, set kernel.Set) *space {
	s := &space{d: d, rank: rank(d), seed: seed, table: newNormalTable(), set: set}
	s.basis = make([]float32, d*s.rank)
	rng := rand.New(rand.NewPCG(seed, basisStream))
	done := make([][]float64, 0, s.rank+1)
	ones := make([]float64, d)
	for i := range ones {
		ones[i] = 1 / math.Sqrt(float64(d))
	}
	done = append(done, ones)
	for j := range s.rank {
		v := make([]float64, d)
		for i := range v {
			v[i] = rng.NormFloat64()
		}
		for range 2 { // once leaves rounding
			for _, u := range done {
				addTo(v, -dot(v, u), u)
			}
		}
		size := math.Sqrt(dot(v, v))
		for i := range v {
			v[i] /= size
			s.basis[i*s.rank+j] = float32(v[i])
		}
		done = append(done, v)
	}
	return s
}

// basisStream and shuffleStream tell the generators of one seed apart.
const (
	basisStream   = 1
	shuffleStream = 2
)

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func addTo(y []float64, a float64, x []float64) {
	for i, v := range x {
		y[i] += a * v
	}
}

// rows is how the rows of one tensor are drawn: each is along U g + plain n,
// with n and g normal.
type rows struct {
	tensor       int // numbers the tensor among all
	along, plain float32
	unit         bool // g has length 1
}

// written draws vectors that are added to the residual stream: of covariance
// C, with elements of deviation scale on average. If they were not, every
// layer would dilute kappa.
func (s *space) written(tensor int, scale float64) rows {
	rest := (float64(s.d) - kappa*float64(s.rank)) / float64(s.d-s.rank)
	return rows{tensor: tensor, along: float32(scale * math.Sqrt(kappa-rest)), plain: float32(scale * math.Sqrt(rest))}
}

// neurons draws first halves of neurons: of length 1, a share of it along the
// basis.
func (s *space) neurons(tensor int) rows {
	return rows{tensor: tensor, along: float32(math.Sqrt(beta)), plain: float32(math.Sqrt((1 - beta) / float64(s.d))), unit: true}
}

// independent draws vectors of length 1 that know no basis.
func (s *space) independent(tensor int) rows {
	return rows{tensor: tensor, plain: float32(1 / math.Sqrt(float64(s.d)))}
}

// rowGroup is how many rows share a reading of the basis.
const rowGroup = 4

// drawer is the scratch of one thread.
type drawer struct {
	*space
	g []float32 // [rowGroup, rank]
	y []float32 // [rowGroup, d]
}

func (s *space) drawer() *drawer {
	return &drawer{space: s, g: make([]float32, rowGroup*s.rank), y: make([]float32, rowGroup*s.d)}
}

// draw fills dst [n, d] f16 with rows first to first+n.
func (w *drawer) draw(dst []byte, r rows, first, n int) {
	for at := 0; at < n; at += rowGroup {
		group := min(rowGroup, n-at)
		clear(w.g[group*w.rank:])
		for i := range group {
			s := newStream(w.seed, r.tensor, first+at+i)
			g := w.g[i*w.rank : (i+1)*w.rank]
			if w.table.draw(g, &s, 1); r.unit {
				size := float32(1 / math.Sqrt(float64(w.set.DotF32(g, g, nil))))
				for j := range g {
					g[j] *= size
				}
			}
			w.table.draw(w.y[i*w.d:(i+1)*w.d], &s, r.plain)
		}
		if r.along != 0 {
			w.addAlong(group, r.along)
		}
		w.set.EncodeF16(elements(dst[2*at*w.d:]), w.y[:group*w.d])
	}
}

// addAlong adds a U g to each row of the group.
func (w *drawer) addAlong(group int, a float32) {
	for i := range w.d {
		u := w.basis[i*w.rank : (i+1)*w.rank]
		sums := w.set.Dot4F32(u, w.g, w.rank, nil)
		for j := range group {
			w.y[j*w.d+i] += a * sums[j]
		}
	}
}

// elements views the bytes of a weight buffer, which starts at an even address
// as every allocation does, as float16 elements.
func elements(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}
