//go:build !linux

package disk

import (
	"os"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// directFile is for systems that have direct reads.
type directFile struct{ bufferedFile }

func openDirect([]pack.File, int64) (*directFile, bool) { return nil, false }

func withRing(d *directFile) File { return d }

func readVec(f *os.File, bufs [][]byte, off, align int64) (int, error) {
	return fill(bufs, off, align, func(bufs [][]byte, off int64) (int, error) { return f.ReadAt(bufs[0], off) })
}

func readCached(f *os.File, bufs [][]byte, off int64) (int, error) { return readVec(f, bufs, off, 1) }

func noReadahead(*os.File) {}

func dropCache(*os.File, int64, int64) {}

func inPageCache(*os.File, int64, int64) bool { return false }
