package pack

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

// Parts large and small, aligned or not, land where they belong, past the page
// cache or through it, and through it alone once that was refused.
func TestDirectOutput(t *testing.T) {
	for _, refused := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "f")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		out := newOutput(f)
		d, ok := out.(*directOutput)
		if !ok {
			t.Logf("DIRECT WRITES ARE NOT TESTED: the file system of %s has none", path)
			t.SkipNow()
		}
		if refused { // as a file system may that took the flag
			d.align = 1
		}
		rng := rand.New(rand.NewPCG(1, 2))
		data := rand.NewChaCha8([32]byte{3})
		want := make([]byte, 4<<20)
		buf := make([]byte, directBytes*4+4096)
		base := int(-uintptr(unsafe.Pointer(&buf[0])) % 4096)
		for range 300 {
			n, off := 1+rng.IntN(4*directBytes), rng.IntN(len(want)-4*directBytes)
			p := buf[rng.IntN(4096):][:n]
			if rng.IntN(2) == 0 {
				n, off, p = n/4096*4096, off/4096*4096, buf[base:][:n/4096*4096]
			}
			data.Read(p)
			copy(want[off:], p)
			if m, err := out.WriteAt(p, int64(off)); err != nil || m != n {
				t.Fatalf("%d bytes at %d: got %d, %v", n, off, m, err)
			}
		}
		if err := out.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("refused %v: got other bytes, %v", refused, err)
		}
		if d.refused.Load() != refused {
			t.Errorf("got refused %v, want %v", d.refused.Load(), refused)
		}
	}
}
