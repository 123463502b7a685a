//go:build unix

package disk

import (
	"bytes"
	"os"
	"testing"
)

// A mapping is the file, copies where it is asked to, and leaves alone what is
// there already, which cannot be written to.
func TestMapping(t *testing.T) {
	f := makePack(t, 0)
	want, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenMapping(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Data, want) {
		t.Error("got other bytes than the file's")
	}
	a, b := make([]byte, 5), make([]byte, 7)
	if n, err := m.ReadVec([][]byte{a, b}, 100); n != 12 || err != nil || !bytes.Equal(append(a, b...), want[100:112]) {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if n, err := m.ReadVec([][]byte{m.Data[64:128], m.Data[128:130]}, 64); n != 66 || err != nil {
		t.Errorf("in place: got %d bytes, %v", n, err)
	}
	for _, off := range []int64{-1, int64(len(want)) - 4, 1 << 62} {
		if _, err := m.ReadVec([][]byte{a}, off); err == nil {
			t.Errorf("offset %d: got no error", off)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenMapping(f.Path() + ".none"); err == nil {
		t.Error("no file: got no error")
	}
	if err := DropCache(f.Path()); err != nil {
		t.Error(err)
	}
	if err := DropCache(f.Path() + ".none"); err == nil {
		t.Error("drop the cache of no file: got no error")
	}
}
