package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A disk is measured on the pack that is read from it, and an error names the
// pack.
func TestMeasureDisk(t *testing.T) {
	o := tinyOptions(t, "")
	p, err := openPack(o.Pack)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := measureDisk(p, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.random < 1 || r.warm < 1 || r.readBytes < 512 || r.inOrder < 1<<20 {
		t.Errorf("got %+v", r)
	}
	none := filepath.Join(t.TempDir(), "none.sflow")
	if _, err := openPack(none); err == nil || !strings.Contains(err.Error(), none) {
		t.Errorf("no such file: got %v, want an error that names it", err)
	}
	if err := os.WriteFile(none, []byte("no pack"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := openPack(none); err == nil || !strings.Contains(err.Error(), none) {
		t.Errorf("no pack: got %v, want an error that names it", err)
	}
}
