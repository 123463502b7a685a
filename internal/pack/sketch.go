package pack

import "math"

// SketchBlock is the number of elements that one block of a sketch holds, in
// half as many bytes.
const SketchBlock = 64

const (
	sketchZero = 8  // the level that stands for 0
	sketchTop  = 15 // the highest level
)

// SketchBytes is the size of the sketch of a row of d elements.
func SketchBytes(d int) int { return (d + SketchBlock - 1) / SketchBlock * (SketchBlock / 2) }

// PackSketch writes the 4-bit sketch of row w to dst, SketchBytes(len(w)) bytes
// long, and returns its scale: element i is (u_i-8)*scale with u_i in 0..15.
// Elements are finite. A row of zeros has scale 0.
//
// Byte j of a block of 32 holds element j in its low half and element 32+j in
// its high half, so that a vector unit unpacks a block with one mask and one
// shift; the last block is filled up with u = 8.
//
// Rounding to nearest with the scale that just avoids clipping, max|w|/7, wastes
// levels on outliers. The scale used is the least-squares one after a few steps
// of alternating minimisation (levels for a scale, then the best scale for those
// levels: sum(w q)/sum(q^2)) from that scale and from the best one for a normal
// distribution, 0.3352 sigma (J. Max, "Quantizing for minimum distortion", IRE
// Trans. Inf. Theory 6(1), 1960, table II). Its squared error is never above
// that of max|w|/7.
func PackSketch(dst []byte, w []float32) float32 {
	scale := sketchScale(w)
	var inv float32
	if scale > 0 {
		inv = 1 / scale
	}
	dst = dst[:SketchBytes(len(w))]
	for ; len(w) >= SketchBlock; w, dst = w[SketchBlock:], dst[SketchBlock/2:] {
		packBlock((*[SketchBlock / 2]byte)(dst), (*[SketchBlock]float32)(w), inv)
	}
	if len(w) > 0 {
		var last [SketchBlock]float32
		copy(last[:], w)
		packBlock((*[SketchBlock / 2]byte)(dst), &last, inv)
	}
	return scale
}

func packBlock(dst *[SketchBlock / 2]byte, w *[SketchBlock]float32, inv float32) {
	for j := range dst {
		dst[j] = byte(sketchLevel(w[j]*inv) | sketchLevel(w[SketchBlock/2+j]*inv)<<4)
	}
}

// sketchLevel rounds v, in units of the scale, to a level in 0..15.
func sketchLevel(v float32) int32 {
	u := int32(v + (sketchZero + 0.5)) // truncates, which is floor where it matters
	if uint32(u) > sketchTop {
		if u < 0 {
			return 0
		}
		return sketchTop
	}
	return u
}

// sketchScale finds the scale with the least squared error that a few steps of
// alternating minimisation reach.
func sketchScale(w []float32) float32 {
	largest, rms := extent(w)
	start := largest / 7
	// A scale whose reciprocal overflows cannot be divided by, and stands for
	// weights that no result depends on.
	if start < 0x1p-100 {
		return 0
	}
	best := fitSketch(w, start)
	s := min(0.3352*rms, start)
	for range 2 {
		f := fitSketch(w, s)
		if f.score > best.score {
			best = f
		}
		s = f.scale
	}
	return best.scale
}

// extent is the largest magnitude and the root mean square of w.
func extent(w []float32) (largest, rms float32) {
	var bits uint32 // those of magnitudes order as the magnitudes do
	var sum float64
	for _, v := range w {
		bits = max(bits, math.Float32bits(v)&^(1<<31))
		sum += float64(v) * float64(v)
	}
	return math.Float32frombits(bits), float32(math.Sqrt(sum / float64(len(w))))
}

// A sketchFit is the best scale for one choice of levels.
type sketchFit struct {
	scale float32
	score float64 // the reduction of squared error that scale gives
}

// fitSketch chooses levels by scale s and returns the best scale for them.
// With levels q the squared error at scale t is sum(w^2) - 2 t sum(w q) + t^2
// sum(q^2), least at t = sum(w q)/sum(q^2), where it is sum(w q)^2/sum(q^2)
// below sum(w^2). Sums are float32 within a block only, for speed.
func fitSketch(w []float32, s float32) sketchFit {
	inv := 1 / s
	var wq float64
	var qq int64
	for len(w) > 0 {
		n := min(SketchBlock, len(w))
		var blockWQ float32
		var blockQQ int32
		for _, v := range w[:n] {
			x := v * inv
			q := sketchLevel(x) - sketchZero
			blockWQ += x * float32(q)
			blockQQ += q * q
		}
		wq += float64(blockWQ)
		qq += int64(blockQQ)
		w = w[n:]
	}
	if qq == 0 || wq <= 0 {
		return sketchFit{scale: s, score: math.Inf(-1)}
	}
	t := wq / float64(qq) * float64(s)
	return sketchFit{scale: float32(t), score: t * t * float64(qq)}
}
