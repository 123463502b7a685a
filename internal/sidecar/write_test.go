package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	for _, s := range []*Sidecar{small(), New(testSource), small()} {
		if err := s.Write(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if got := encode(t, mustOpen(t, path)); !bytes.Equal(got, encode(t, s)) {
			t.Error("got another sidecar than was written")
		}
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
}

// What a killed writer left is used again, however long it is.
func TestLeftOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	if err := os.WriteFile(path+tempSuffix, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := small().Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
	if got := files(t, dir); locksWork(t) && len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
}

// A link in the place of the pending file is not followed.
func TestLink(t *testing.T) {
	if !locksWork(t) {
		t.Skip("a pending file has a name of its own here")
	}
	dir := t.TempDir()
	path, precious := filepath.Join(dir, "m.sflow.side"), filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("data"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, path+tempSuffix); err != nil {
		t.Skip(err)
	}
	if err := small().Write(t.Context(), path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("got %v, want the link refused", err)
	}
	if b, err := os.ReadFile(precious); string(b) != "data" || err != nil {
		t.Errorf("got %q, %v behind the link, want it unharmed", b, err)
	}
}

// faulty fails the write number failWrite or the sync.
type faulty struct {
	output
	writes, failWrite int
	failSync          bool
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.writes++; f.writes == f.failWrite {
		return 0, syscall.ENOSPC
	}
	return f.output.Write(p)
}

func (f *faulty) Sync() error {
	if f.failSync {
		return syscall.EIO
	}
	return f.output.Sync()
}

// Whichever write or sync fails, the directory holds what it held before.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	if err := New(testSource).Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	run := func(f *faulty) error {
		p, err := createPending(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.release()
		f.output, p.out = p.out, f
		return p.store(small())
	}
	unharmed := func(what string) {
		t.Helper()
		if got := files(t, dir); len(got) != 1 || len(mustOpen(t, path).Names()) != 0 {
			t.Fatalf("%s: got files %q, want the old sidecar alone", what, got)
		}
	}
	if err := run(&faulty{failSync: true}); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: got %v, want %v", err, syscall.EIO)
	}
	unharmed("sync")
	n := 1
	for ; ; n++ {
		f := &faulty{failWrite: n}
		err := run(f)
		if f.writes < n { // past the last write
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write %d: got %v, want %v", n, err, syscall.ENOSPC)
		}
		unharmed(fmt.Sprintf("write %d", n))
	}
	if want := 1 + 7 + 1 + 1; n != want { // header, tensors, checksum, and one past them
		t.Errorf("got %d runs, want %d", n, want)
	}
	mustOpen(t, path)
}

func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	add := func(name string) func(*Sidecar) *Sidecar {
		return func(s *Sidecar) *Sidecar { return s.With(name, Section{}) }
	}
	if err := Update(t.Context(), path, testSource, func(*Sidecar) *Sidecar { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("nothing to write: got files %q, want none", got)
	}
	for _, name := range []string{"b", "a"} {
		if err := Update(t.Context(), path, testSource, add(name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustOpen(t, path).Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got sections %q, want a and b", got)
	}
	var mismatch *MismatchError
	if err := Update(t.Context(), path, otherSource, add("c")); !errors.As(err, &mismatch) {
		t.Errorf("other weights: got %v, want a MismatchError", err)
	}
	if err := Update(t.Context(), path, testSource, add("c/d")); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a bad section: got %v, want an error that names the file", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = Update(t.Context(), path, testSource, func(*Sidecar) *Sidecar { panic("a bug of the caller") })
	}()
	if got := mustOpen(t, path).Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got sections %q after updates that failed, want a and b", got)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Update(t.Context(), path, testSource, add("c")); err == nil {
		t.Error("a damaged file: got no error")
	}
	if b, err := os.ReadFile(path); string(b) != "damaged" || err != nil {
		t.Errorf("a damaged file: got %q, %v, want it left for the user", b, err)
	}
}

// Updates at once lose nothing.
func TestUpdateAtOnce(t *testing.T) {
	if !locksWork(t) {
		t.Skip("the last one wins here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	const writers = 24
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := Update(t.Context(), path, testSource, func(s *Sidecar) *Sidecar {
				runtime.Gosched()
				return s.With(strconv.Itoa(i), Section{})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := mustOpen(t, path).Names(); len(got) != writers {
		t.Errorf("got sections %q, want %d", got, writers)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
}

// A writer that waits for another one gives up with its context.
func TestWaitEnds(t *testing.T) {
	if !locksWork(t) {
		t.Skip("nobody waits here")
	}
	path := filepath.Join(t.TempDir(), "m.sflow.side")
	p, err := createPending(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := small().Write(ctx, path); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want %v and the path", err, context.DeadlineExceeded)
	}
	p.release()
	if err := small().Write(t.Context(), path); err != nil {
		t.Errorf("after the other one ended: %v", err)
	}
}

// A writer that has finished leaves the next one's file alone.
func TestNextWriter(t *testing.T) {
	if !locksWork(t) {
		t.Skip("each writer's file has a name of its own here")
	}
	path := filepath.Join(t.TempDir(), "m.sflow.side")
	first, err := createPending(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.store(New(testSource)); err != nil {
		t.Fatal(err)
	}
	next, err := createPending(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	first.release()
	if err := next.store(small()); err != nil {
		t.Error(err)
	}
	next.release()
	if got := mustOpen(t, path).Names(); len(got) != 3 {
		t.Errorf("got sections %q, want those of the second writer", got)
	}
}

// Without locks each writer has a file of its own, and the last one wins.
func TestUnlocked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	var both []*pending
	for range 2 {
		p, err := createUnlocked(path)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, p)
	}
	for i, s := range []*Sidecar{New(testSource), small()} {
		if err := both[i].store(s); err != nil {
			t.Fatal(err)
		}
		both[i].release()
		if got := mustOpen(t, path).Names(); !slices.Equal(got, s.Names()) {
			t.Errorf("writer %d: got sections %q, want %q", i, got, s.Names())
		}
	}
	p, err := createUnlocked(path)
	if err != nil {
		t.Fatal(err)
	}
	p.release()
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
}

// childEnv makes the test binary a writer that never stops.
const childEnv = "SPARSEFLOW_TEST_SIDECAR_FOREVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		writeForever(path)
	}
	os.Exit(m.Run())
}

// large takes a while to write.
func large() *Sidecar {
	const n = 1 << 20
	return small().With("large", Section{Tensors: map[string]Tensor{"x": {"U8", []int64{n}, bytes.Repeat([]byte{5}, n)}}})
}

func writeForever(path string) {
	s := large()
	for {
		err := Update(context.Background(), path, testSource, func(old *Sidecar) *Sidecar {
			if len(old.Names()) > len(s.Names()) {
				return s
			}
			return s.With("odd", Section{})
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// A writer killed at any moment leaves a complete sidecar in place, and nothing
// that keeps the next one from its work.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.sflow.side")
	if err := large().Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	left := 0
	for range 25 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+path)
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(5+rng.IntN(60)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		if err := child.Wait(); err != nil && strings.Contains(err.Error(), "exit status") {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		if _, ok := mustOpen(t, path).Section("large"); !ok {
			t.Fatal("got a sidecar without its section")
		}
		left += len(files(t, dir)) - 1
	}
	if left == 0 {
		t.Error("got no file left over in any run: the kills prove nothing")
	}
	if err := small().Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); locksWork(t) && len(got) != 1 {
		t.Errorf("got files %q, want the sidecar alone", got)
	}
}

func locksWork(t *testing.T) bool {
	f, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	held, err := filelock.Try(f)
	return held && err == nil
}
