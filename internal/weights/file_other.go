//go:build !linux

package weights

import "os"

func openDirect(string, int64) (File, bool) { return nil, false }

func readVec(f *os.File, bufs [][]byte, off, align int64) (int, error) {
	return fill(bufs, off, align, func(bufs [][]byte, off int64) (int, error) { return f.ReadAt(bufs[0], off) })
}

func noReadahead(*os.File) {}

func dropCache(*os.File, int64, int64) {}
