package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// A lock excludes a second open of the same file until the first is closed.
func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	a, b := open(), open()
	held, err := filelock.Try(a)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if !held || err != nil {
		t.Fatalf("first lock: got %v, %v, want it", held, err)
	}
	if held, err := filelock.Try(b); held || err != nil {
		t.Fatalf("second lock: got %v, %v, want it refused", held, err)
	}
	a.Close()
	if held, err := filelock.Try(b); !held || err != nil {
		t.Fatalf("second lock after the first was closed: got %v, %v, want it", held, err)
	}
}
