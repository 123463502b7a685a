package bench

import (
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/disk"
)

// splitFile reads a neuron as if its two vectors lay apart, in the matrices of a
// checkpoint: by two reads of half the size. A run of neurons is two runs of
// vectors.
type splitFile struct {
	disk.File
	first int64 // offset of the first bundle
}

// ReadVec reads bundles in two reads, all else in one.
func (h splitFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	half := total / 2 / int(h.Align()) * int(h.Align())
	if off < h.first || half == 0 {
		return h.File.ReadVec(bufs, off)
	}
	var front, back [][]byte
	for at, left := 0, half; at < len(bufs); at++ {
		n := min(left, len(bufs[at]))
		left -= n
		if n > 0 {
			front = append(front, bufs[at][:n])
		}
		if n < len(bufs[at]) {
			back = append(back, bufs[at][n:])
		}
	}
	n, err := h.File.ReadVec(front, off)
	if err != nil {
		return n, err
	}
	m, err := h.File.ReadVec(back, off+int64(half))
	return n + m, err
}

// joinedFile reads into buffers that lie next to each other in memory as into one:
// a layer's rest is then one request, not one of many pieces.
type joinedFile struct{ disk.File }

// ReadVec reads into the joined buffers.
func (j joinedFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	var long [][]byte
	for _, b := range bufs {
		if last := len(long) - 1; last >= 0 && len(b) > 0 && follows(long[last], b) {
			// Neurons' slots are parts of one mapping.
			long[last] = unsafe.Slice(unsafe.SliceData(long[last]), len(long[last])+len(b))
			continue
		}
		long = append(long, b)
	}
	return j.File.ReadVec(long, off)
}

// follows reports whether b begins in memory where a ends.
func follows(a, b []byte) bool {
	return len(a) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(a)))+uintptr(len(a)) == uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
