package kernel

// quantStreams are the kernels over quantised rows of rowElems elements: the
// pool's values are positive float16, so any of them serves as a scale.
func quantStreams(s Set) []stream {
	x, y := make([]float32, rowElems), make([]float32, rowElems)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	stride := QuantXBytes(rowElems)
	records := make([]byte, 4*stride)
	for i := range 4 {
		s.QuantizeX(records[i*stride:], x, ZeroQ8)
	}
	var sink float32
	over := func(blockBytes int, one func(w []byte, next *byte)) stream {
		rowBytes := rowElems / 32 * blockBytes
		return stream{rowBytes: rowBytes, run: func(p []byte, at []int) {
			for i, r := range at {
				var next *byte
				if i+1 < len(at) {
					next = &p[at[i+1]*rowBytes]
				}
				one(p[r*rowBytes:(r+1)*rowBytes], next)
			}
		}}
	}
	var all []stream
	for _, k := range []struct {
		name       string
		blockBytes int
		dot        func(w, x []byte, next *byte) float32
		dot4       func(w, x []byte, stride int, next *byte) [4]float32
		axpy       func(y []float32, a float32, w []byte, next *byte)
	}{
		{"Q8", q8Bytes, s.DotQ8, s.Dot4Q8, s.AxpyQ8},
		{"Q4", q4Bytes, s.DotQ4, s.Dot4Q4, s.AxpyQ4},
	} {
		dot := over(k.blockBytes, func(w []byte, next *byte) { sink += k.dot(w, records, next) })
		dot4 := over(k.blockBytes, func(w []byte, next *byte) { sink += k.dot4(w, records, stride, next)[3] })
		axpy := over(k.blockBytes, func(w []byte, next *byte) { k.axpy(y, 1e-3, w, next) })
		dot.name, dot4.name, axpy.name = "Dot"+k.name, "Dot4"+k.name, "Axpy"+k.name
		all = append(all, dot, dot4, axpy)
	}
	return all
}
