package weights

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
		iops, random, inOrder, err := MeasureDisk(path, c.bundle, c.align)
		if err != nil {
			t.Fatal(err)
		}
		if iops < 1 || !near(random, iops*float64(c.read), 1e-9) || inOrder < 1<<20 {
			t.Errorf("%+v: got %v reads/s, %v B/s, %v B/s in order", c, iops, random, inOrder)
		}
	}
	for _, c := range []struct{ bundle, align int64 }{{0, 512}, {1 << 40, 512}, {512, 0}, {512, 513}, {4 << 20, 512}} {
		_, _, _, err := MeasureDisk(path, c.bundle, c.align)
		wantIn(t, err, "weights: measure", path)
	}
	_, _, _, err := MeasureDisk(path+".none", 512, 512)
	wantIn(t, err, path+".none")
}
