package lowrank

import "math"

// loss is the training loss; see Train for the formula.
type loss struct {
	mean     float64 // mean activation of active neurons
	negative float64 // weight of silent ones
}

// descend returns token t's loss, summed over its neurons, and replaces each
// score by the loss's derivative by it.
//
// With e = exp(-|s|), softplus(s) is max(s, 0) + log(1+e) and its derivative
// 1/(1+e) or, where s < 0, e/(1+e). Silent neurons need no logarithm each: it
// is taken of the product of up to 512 factors 1+e, which is at most 2^512.
func (l loss) descend(scores []float32, data *Data, t int) float64 {
	ids, values := data.active(t)
	negative := float32(l.negative)
	silent, sum := 0.0, 0.0
	for from := 0; from < len(scores); from += 512 {
		product, linear := 1.0, float32(0)
		block := scores[from:min(len(scores), from+512)]
		for i, s := range block {
			low, above := s, float32(0) // -|s| and max(s, 0)
			if s > 0 {
				low, above = -s, s
			}
			e := decay(low)
			slope := 1 / (1 + e)
			if s < 0 {
				slope *= e
			}
			if len(ids) > 0 && int(ids[0]) == from+i {
				weight := float64(values[0]) / l.mean
				sum += weight * (float64(above-s) + math.Log1p(float64(e)))
				block[i] = float32(weight) * (slope - 1)
				ids, values = ids[1:], values[1:]
				continue
			}
			product *= float64(1 + e)
			linear += above
			block[i] = negative * slope
		}
		silent += float64(linear) + math.Log(product)
	}
	return sum + l.negative*silent
}

// decay is exp(s) for s <= 0 with a relative error below (3 + 1.5|s|) 1e-7, at
// half the cost of math.Exp: 2^n by its exponent bits, 2^f for f in [-1/2, 1/2]
// by the Taylor series of e^(f ln 2) to the sixth power. Below -87, where it
// would leave the normal numbers, it stays at exp(-87).
func decay(s float32) float32 {
	if s < -87 {
		s = -87
	}
	y := s * math.Log2E
	n := int32(y - 0.5)
	x := (y - float32(n)) * math.Ln2
	p := 1 + x*(1+x*(1./2+x*(1./6+x*(1./24+x*(1./120+x*(1./720))))))
	return p * math.Float32frombits(uint32(n+127)<<23)
}
