//go:build !linux

package weights

import "os"

func openDirect(string) (File, bool) { return nil, false }

func readVec(f *os.File, bufs [][]byte, off int64) (int, error) {
	return eachBuf(bufs, off, f.ReadAt)
}

func dropCache(*os.File, int64, int64) {}
