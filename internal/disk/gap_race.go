//go:build race

package disk

import "github.com/sparseflow/sparseflow/internal/memory"

import "unsafe"

// gapBuffer is memory of its own for one read, since the race detector cannot
// know that nobody looks at what reads write there.
func gapBuffer(gap []byte) []byte {
	b := make([]byte, len(gap)+memory.PageAlign)
	at := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % memory.PageAlign
	return b[at : at+uintptr(len(gap))]
}
