package synth

import (
	"math"
	"math/bits"
)

// stream is the random numbers of one row of one tensor, wyrand (Wang Yi,
// https://github.com/wangyi-fudan/wyhash): a row can be drawn by itself, so
// that neither threads nor the order of reading change a byte.
type stream struct{ state uint64 }

const (
	wyAdd = 0xa0761d6478bd642f
	wyXor = 0xe7037ed1a0b428db
)

func newStream(seed uint64, tensor, row int) stream {
	s := stream{seed}
	s.state = s.next() ^ uint64(tensor)*wyXor
	s.state = s.next() ^ uint64(row)*wyXor
	s.next()
	return s
}

func (s *stream) next() uint64 {
	s.state += wyAdd
	hi, lo := bits.Mul64(s.state, s.state^wyXor)
	return hi ^ lo
}

// normalTable is the quantiles of the normal distribution in the middle of
// each of 2^16 equal shares: 16 random bits choose one.
type normalTable [1 << 16]float32

func newNormalTable() *normalTable {
	t := new(normalTable)
	for i := range t {
		t[i] = float32(quantile((float64(i) + 0.5) / float64(len(t))))
	}
	return t
}

// quantile is the inverse of the normal distribution function.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// draw fills dst with normal values of deviation scale.
func (t *normalTable) draw(dst []float32, s *stream, scale float32) {
	for ; len(dst) >= 4; dst = dst[4:] {
		r := s.next()
		dst[0] = scale * t[uint16(r)]
		dst[1] = scale * t[uint16(r>>16)]
		dst[2] = scale * t[uint16(r>>32)]
		dst[3] = scale * t[uint16(r>>48)]
	}
	if len(dst) == 0 {
		return
	}
	r := s.next()
	for i := range dst {
		dst[i] = scale * t[uint16(r>>(16*i))]
	}
}
