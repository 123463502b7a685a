// Package memory is fast memory outside the Go heap, so that the collector
// neither scans nor moves it.
package memory

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Memory is one block of fast memory, given out piece by piece and returned
// as a whole.
type Memory struct {
	all       []byte
	used      int64
	preparing sync.WaitGroup
	closing   atomic.Bool
}

const lineAlign = 64 // where pieces start: a cache line

// PageAlign is what the address of a Buffer is a multiple of.
const PageAlign = 4096

// New takes n bytes from the system.
func New(n int64) (*Memory, error) {
	if n < 0 {
		return nil, fmt.Errorf("memory: map memory: got %d bytes, want 0 or more", n)
	}
	if n == 0 {
		return &Memory{}, nil
	}
	b, err := mapMemory(n)
	return &Memory{all: b}, err
}

// PieceBytes is what a piece of n bytes takes up.
func PieceBytes(n int64) int64 { return AlignUp(n, lineAlign) }

// BufferBytes is the most that a buffer of n bytes takes up.
func BufferBytes(n int64) int64 { return AlignUp(n, lineAlign) + PageAlign }

// AlignUp is n rounded up to a multiple of to.
func AlignUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Piece is the next n bytes, starting on a cache line. Asking for more than is
// left is a bug in the placement that sized the memory.
func (m *Memory) Piece(n int64) []byte {
	if left := max(0, int64(len(m.all))-m.used); n > left {
		panic(fmt.Sprintf("memory: memory piece: got %d bytes of %d left, want %d", left, len(m.all), n))
	}
	p := m.all[m.used : m.used+n : m.used+n]
	m.used += PieceBytes(n)
	return p
}

// Buffer is a piece that starts on a page, for direct reads.
func (m *Memory) Buffer(n int64) []byte {
	m.used = AlignUp(m.used, PageAlign)
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

// prepareBytes is how much is prepared at a time, between looks at whether to
// stop: some milliseconds' worth where the system is slow.
const prepareBytes = 4 << 20

// Prepare has the system find and clear the memory of parts, which are of m,
// one after the other on a thread of its own, so that whoever writes there first
// does not wait for it: a virtual machine's memory can be slower to come than a
// disk is to read. The thread has what time of the processors nobody else wants. Where
// the system cannot do that, it does nothing. Prepare is called at most once.
func (m *Memory) Prepare(parts ...[]byte) {
	m.preparing.Go(func() {
		runtime.LockOSThread() // which ends with this
		yieldToOthers()
		for _, p := range parts {
			if len(p) == 0 {
				continue
			}
			begin := m.offset(p)
			end := begin + int64(len(p))
			begin -= begin % int64(os.Getpagesize())
			for b := range slices.Chunk(m.all[begin:end], prepareBytes) {
				if m.closing.Load() || !populate(b) {
					return
				}
			}
		}
	})
}

// Lock keeps a part of m, which has been written to, from being swapped out, where the
// system allows that for as much as m is.
func (m *Memory) Lock(part []byte) {
	if len(part) == 0 {
		return
	}
	begin := m.offset(part)
	end := begin + int64(len(part))
	begin -= begin % int64(os.Getpagesize())
	lock(m.all[begin:end], int64(len(m.all)))
}

// offset is where a part of m begins.
func (m *Memory) offset(part []byte) int64 {
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.all))))
}

// Close gives the memory back. No piece may be used after it.
func (m *Memory) Close() error {
	m.closing.Store(true)
	m.preparing.Wait()
	if m.all == nil {
		return nil
	}
	b := m.all
	m.all = nil
	return unmapMemory(b)
}
