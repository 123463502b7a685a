//go:build race

package weights

import "unsafe"

// scrapFor is memory of its own for one read, since the race detector cannot
// know that nobody looks at what reads write there.
func scrapFor(scrap []byte) []byte {
	b := make([]byte, len(scrap)+pageAlign)
	at := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageAlign
	return b[at : at+uintptr(len(scrap))]
}
