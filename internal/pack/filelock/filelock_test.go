package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// A locked file is its holder's only as long as its name leads to it.
func TestLeadsTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tmp")
	var opened []*os.File
	for range 2 {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		opened = append(opened, f)
		if got, err := filelock.LeadsTo(path, f); !got || err != nil {
			t.Errorf("its file: got %v, %v, want true", got, err)
		}
		if err := os.Rename(path, path+strconv.Itoa(len(opened))); err != nil {
			t.Skip(err) // a system that renames no open file has no locks either
		}
		if got, err := filelock.LeadsTo(path, f); got || err != nil {
			t.Errorf("no file: got %v, %v, want false", got, err)
		}
	}
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	if got, err := filelock.LeadsTo(path, opened[0]); got || err != nil {
		t.Errorf("another file: got %v, %v, want false", got, err)
	}
}

// Of many that want a lock file each gets it alone, though each removes it.
func TestAcquire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var wg sync.WaitGroup
	var inside, waited atomic.Int32
	for range 16 {
		wg.Go(func() {
			f, err := filelock.Acquire(t.Context(), path, time.Millisecond, func() { waited.Add(1) })
			if errors.Is(err, errors.ErrUnsupported) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("got two holders of one lock")
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			os.Remove(path)
			f.Close()
		})
	}
	wg.Wait()
	if n := waited.Load(); n > 15 {
		t.Errorf("got %d told to wait, want each at most once and the first never", n)
	}
}
