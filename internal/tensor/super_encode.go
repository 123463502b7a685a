package tensor

import "math"

// Scales of a super block are found as GGUF's reference does without an
// importance matrix (ggml-quants.c): each group tries a few roundings, fits scale
// and least value to each by weighted least squares, and keeps the best; then
// scales are rounded, and codes are rounded once more to what the scales became.
// Sums are of rounded products, so that no processor fuses them.

// mostSuper is above what any scale in F16 can reach; a block with larger values
// gets an infinite one, as do those of other types.
const mostSuper = 1 << 30

// odd is what stands in for the scale of a block that has none: NaN or a value
// that is infinite in F16. It is 0 of others.
func odd(x []float32) float32 {
	if top := largest(x); !(top <= mostSuper && top >= -mostSuper) {
		return top
	}
	return 0
}

// nearest is v, of magnitude below 2^22, rounded half to even.
func nearest(v float32) float32 {
	const shift = 3 << 22
	return float32(v+shift) - shift
}

// clamp is v within lo and hi; min and max take longer, for NaN and zeros.
func clamp(v, lo, hi float32) float32 {
	if v < lo {
		return lo
	}
	if v > hi {
		return hi
	}
	return v
}

// A span is codes 0 to top of a group of 32, and the roundings to try: after
// the plain one those that spread the values over top+first, top+first+step and so
// on codes.
type span struct {
	top, first, step float32
	tries            int
}

var (
	span4 = span{15, -1, 0.1, 21}
	span5 = span{31, -0.5, 0.1, 16}
)

// fit is the scale, and what is taken away, that reproduce x best.
func (s span) fit(x []float32) (scale, least float32) {
	var w [32]float32
	lo, hi, square := min(x[0], 0), x[0], float32(0)
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		square += float32(v * v)
	}
	if hi == lo {
		return 0, -lo
	}
	rms := float32(math.Sqrt(float64(square / 32)))
	var sum, sumX float32 // of w, of w x
	for i, v := range x {
		w[i] = rms + float32(math.Abs(float64(v)))
		sum += w[i]
		sumX += float32(w[i] * v)
	}
	best := float32(math.MaxFloat32)
	for try := -1; try < s.tries; try++ {
		inv := s.top / (hi - lo)
		if try >= 0 {
			inv = (s.top + s.first + float32(s.step*float32(try))) / (hi - lo)
		}
		var sumQ, sumQQ, sumQX float32
		for i, v := range x {
			q := nearest(float32(inv * (v - lo)))
			if q > s.top { // it is 0 at least
				q = s.top
			}
			wq := float32(w[i] * q)
			sumQ += wq
			sumQQ += float32(wq * q)
			sumQX += float32(wq * v)
		}
		d, m := 1/inv, lo
		if try >= 0 { // the first is without a fit
			det := float32(sum*sumQQ) - float32(sumQ*sumQ)
			if det <= 0 {
				continue
			}
			d = (float32(sum*sumQX) - float32(sumX*sumQ)) / det
			m = (float32(sumQQ*sumX) - float32(sumQ*sumQX)) / det
			if m > 0 {
				d, m = sumQX/sumQQ, 0
			}
		}
		// The squared error, less what all tries have in common.
		off := float32(d*(float32(d*sumQQ)+float32(2*float32(m*sumQ))-2*sumQX)) + float32(m*(float32(m*sum)-2*sumX))
		if off < best {
			best, scale, least = off, d, -m
			lo = m // the next tries start from what is best so far
		}
	}
	return scale, least
}

// offsetBlock is the head of a block of Q4_K or Q5_K, d, m and 12 bytes, and its
// codes.
func offsetBlock(dst []byte, codes *[SuperBlock]byte, x []float32, s span) {
	var scales, leasts [8]float32
	var topScale, topLeast float32
	if bad := odd(x); bad != 0 {
		topScale, topLeast = bad, bad
	} else {
		for g := range 8 {
			scales[g], leasts[g] = s.fit(x[32*g : 32*g+32])
			topScale, topLeast = max(topScale, scales[g]), max(topLeast, leasts[g])
		}
	}
	putHalf(dst, topScale/63)
	putHalf(dst[2:], topLeast/63)
	d, m := half(dst), half(dst[2:])
	toScale, toLeast := float32(63*inverse(topScale)), float32(63*inverse(topLeast))
	clear(dst[4:16])
	for g := range 8 { // NaN and infinite scales come with codes of zero
		a := byte(min(63, nearest(float32(toScale*scales[g]))))
		b := byte(min(63, nearest(float32(toLeast*leasts[g]))))
		if g < 4 {
			dst[4+g] |= a
			dst[8+g] |= b
		} else {
			dst[8+g] = a&15 | b<<4
			dst[g] |= a >> 4 << 6
			dst[4+g] |= b >> 4 << 6
		}
		scale, least := d*float32(a), m*float32(b)
		for i := 32 * g; i < 32*g+32; i++ {
			codes[i] = 0
			if scale > 0 {
				codes[i] = byte(clamp(nearest((x[i]+least)/scale), 0, s.top))
			}
		}
	}
}

func encodeQ4K(dst []byte, src []float32) {
	var codes [SuperBlock]byte
	for ; len(src) > 0; dst, src = dst[q4kBytes:], src[SuperBlock:] {
		offsetBlock(dst, &codes, src[:SuperBlock], span4)
		for j := range 128 {
			at := j/32*64 + j%32
			dst[16+j] = codes[at] | codes[at+32]<<4
		}
	}
}

func encodeQ5K(dst []byte, src []float32) {
	var codes [SuperBlock]byte
	for ; len(src) > 0; dst, src = dst[q5kBytes:], src[SuperBlock:] {
		offsetBlock(dst, &codes, src[:SuperBlock], span5)
		clear(dst[16:48])
		for i, c := range codes {
			dst[16+i%32] |= c >> 4 << (i / 32)
		}
		for j := range 128 {
			at := j/32*64 + j%32
			dst[48+j] = codes[at]&15 | codes[at+32]<<4
		}
	}
}

// fitSigned is the scale that reproduces x best by codes from -32 to 31, where
// an error counts as much as the square of the value.
func fitSigned(x []float32) (scale float32) {
	top := largest(x)
	if top == 0 {
		return 0
	}
	var w [16]float32
	for i, v := range x {
		w[i] = float32(v * v)
	}
	var best float32
	for try := range 19 {
		inv := -(32 + float32(0.1*float32(try-9))) / top
		if inv-inv != 0 {
			return 0
		}
		var sumQQ, sumQX float32
		for i, v := range x {
			q := clamp(nearest(float32(inv*v)), -32, 31)
			wq := float32(w[i] * q)
			sumQQ += float32(wq * q)
			sumQX += float32(wq * v)
		}
		if sumQQ > 0 && float32(sumQX*sumQX) > float32(best*sumQQ) {
			scale = sumQX / sumQQ
			best = float32(scale * sumQX)
		}
	}
	return scale
}

func encodeQ6K(dst []byte, src []float32) {
	for ; len(src) > 0; dst, src = dst[q6kBytes:], src[SuperBlock:] {
		x := src[:SuperBlock]
		clear(dst[:q6kBytes])
		if bad := odd(x); bad != 0 {
			putHalf(dst[208:], bad)
			continue
		}
		var scales [16]float32
		for g := range scales {
			scales[g] = fitSigned(x[16*g : 16*g+16])
		}
		top := largest(scales[:])
		putHalf(dst[208:], top/-128)
		d, inv := half(dst[208:]), -128*inverse(top)
		for g, s := range scales {
			code := int8(min(127, nearest(float32(inv*s))))
			dst[192+g] = byte(code)
			scale := d * float32(code)
			for i := 16 * g; i < 16*g+16; i++ {
				q := byte(32)
				if scale != 0 {
					q = byte(clamp(nearest(x[i]/scale), -32, 31) + 32)
				}
				at, of := i/128*64+i%64, i/32%4
				dst[at] |= q & 15 << (of / 2 * 4)
				dst[128+i/128*32+i%32] |= q >> 4 << (2 * of)
			}
		}
	}
}
