package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMeasureDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 3<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bundle, align, read int64 }{{1500, 512, 1536}, {16384, 4096, 16384}, {100, 1, 512}} {
		r, err := MeasureDisk(path, c.bundle, c.align)
		if err != nil {
			t.Fatal(err)
		}
		if r.Random < 1 || r.Warm < 1 || r.ReadBytes != float64(c.read) || r.InOrder < 1<<20 {
			t.Errorf("%+v: got %+v", c, r)
		}
	}
	for _, c := range []struct{ bundle, align int64 }{{0, 512}, {1 << 40, 512}, {512, 0}, {512, 513}, {4 << 20, 512}} {
		_, err := MeasureDisk(path, c.bundle, c.align)
		wantIn(t, err, "disk: measure", path)
	}
	_, err := MeasureDisk(path+".none", 512, 512)
	wantIn(t, err, path+".none")
}
