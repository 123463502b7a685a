package kernel

// matVec makes a MatVec of a dot product.
func matVec[T float32 | uint16](dot func(w []T, x []float32, next *T) float32) func(y []float32, w []T, x []float32) {
	return func(y []float32, w []T, x []float32) {
		for i := range y {
			y[i] = dot(w[i*len(x):(i+1)*len(x)], x, nil)
		}
	}
}

// matVecQuant makes a MatVec of a dot product over quantised rows.
func matVecQuant(dot func(w, x []byte, next *byte) float32) func(y []float32, w []byte, rowBytes int, x []byte) {
	return func(y []float32, w []byte, rowBytes int, x []byte) {
		for i := range y {
			y[i] = dot(w[i*rowBytes:(i+1)*rowBytes], x, nil)
		}
	}
}
