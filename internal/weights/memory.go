package weights

import (
	"fmt"
	"unsafe"
)

// Memory is one block of fast memory, given out piece by piece and returned
// as a whole.
type Memory struct {
	all  []byte
	used int64
}

const (
	lineAlign = 64   // where pieces start: a cache line
	pageAlign = 4096 // where buffers for direct reads start
)

// NewMemory takes n bytes from the system.
func NewMemory(n int64) (*Memory, error) {
	if n < 0 {
		return nil, fmt.Errorf("weights: map memory: got %d bytes, want 0 or more", n)
	}
	if n == 0 {
		return &Memory{}, nil
	}
	b, err := mapMemory(n)
	return &Memory{all: b}, err
}

// PieceBytes is what a piece of n bytes takes up.
func PieceBytes(n int64) int64 { return alignUp(n, lineAlign) }

// BufferBytes is the most that a buffer of n bytes takes up.
func BufferBytes(n int64) int64 { return alignUp(n, lineAlign) + pageAlign }

// QueueBytes is what reads under way take, on both sides of the kernel's
// border: queues, and the Reads that are kept for the next ones.
const QueueBytes = 1 << 20

// ScrapBytes is the memory for bytes that are read only because they lie
// between others, from a pack whose bundles are stride bytes apart.
func ScrapBytes(stride int64) int64 { return max(stride, 32<<10) }

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Piece is the next n bytes, starting on a cache line. Asking for more than is
// left is a bug in the placement that sized the memory.
func (m *Memory) Piece(n int64) []byte {
	if left := max(0, int64(len(m.all))-m.used); n > left {
		panic(fmt.Sprintf("weights: memory piece: got %d bytes of %d left, want %d", left, len(m.all), n))
	}
	p := m.all[m.used : m.used+n : m.used+n]
	m.used += PieceBytes(n)
	return p
}

// Buffer is a piece that starts on a page, for direct reads.
func (m *Memory) Buffer(n int64) []byte {
	m.used = alignUp(m.used, pageAlign)
	return m.Piece(n)
}

// Floats is a piece of n float32 elements.
func (m *Memory) Floats(n int) []float32 {
	if n == 0 {
		return nil
	}
	b := m.Piece(4 * int64(n))
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Close gives the memory back. No piece may be used after it.
func (m *Memory) Close() error {
	if m.all == nil {
		return nil
	}
	b := m.all
	m.all = nil
	return unmapMemory(b)
}
