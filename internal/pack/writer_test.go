package pack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// faulty fails the write number failWrite or the sync.
type faulty struct {
	output
	mu        sync.Mutex
	writes    int
	failWrite int
	failSync  bool
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	f.writes++
	n := f.writes
	f.mu.Unlock()
	if n == f.failWrite {
		return 0, syscall.ENOSPC
	}
	return f.output.WriteAt(p, off)
}

func (f *faulty) Sync() error {
	if f.failSync {
		return syscall.EIO
	}
	return f.output.Sync()
}

// writeBest writes what it can of a pack and commits it, as a packer does that
// learns of errors late.
func writeBest(w *Writer) error {
	for _, x := range w.Tensors() {
		if x.Kind != Tokenizer {
			_ = w.WriteTensor(x, make([]byte, x.Bytes()))
		}
	}
	for l := range w.profile.Layers {
		_ = w.WriteBundles(l, 0, make([]byte, int64(w.profile.FFN)*w.BundleStride()))
	}
	return w.Commit(testSource)
}

// Whichever write or sync fails, Commit says so and the directory holds what it
// held before.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.sflow")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	run := func(f *faulty) error {
		w, err := Create(path, smallSpec())
		if err != nil {
			t.Fatal(err)
		}
		f.output, w.out = w.out, f
		return writeBest(w)
	}
	unharmed := func(what string) {
		t.Helper()
		if got := names(t, dir); len(got) != 1 || got[0] != "model.sflow" {
			t.Fatalf("%s: got files %q, want model.sflow alone", what, got)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
			t.Fatalf("%s: got %q, %v, want the file as it was", what, b, err)
		}
	}
	if err := run(&faulty{failSync: true}); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: got %v, want %v", err, syscall.EIO)
	}
	unharmed("sync")
	for n := 1; ; n++ {
		f := &faulty{failWrite: n}
		err := run(f)
		if f.writes < n { // past the last write
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Fatalf("write %d: got %v, want %v and the path", n, err, syscall.ENOSPC)
		}
		unharmed(fmt.Sprintf("write %d", n))
	}
	if p, err := Open(path); err != nil {
		t.Error(err)
	} else {
		p.Close()
	}
}

func TestMisuse(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		use  func(w *Writer) error
		want string
	}{
		"a part left out":   {func(w *Writer) error { return w.Commit(testSource) }, "got no block 0"},
		"a short block":     {func(w *Writer) error { return w.WriteBlock(w.tensors[0], 0, make([]byte, 3)) }, "got 3 bytes"},
		"no such block":     {func(w *Writer) error { return w.WriteBlock(w.tensors[0], 1, nil) }, "block 1 of 1"},
		"half a bundle":     {func(w *Writer) error { return w.WriteBundles(0, 0, make([]byte, 256)) }, "256 bytes"},
		"no such layer":     {func(w *Writer) error { return w.WriteBundles(2, 0, make([]byte, 512)) }, "layers.2"},
		"no such neuron":    {func(w *Writer) error { return w.WriteBundles(1, 2, make([]byte, 1024)) }, "up to neuron 2"},
		"a tensor too long": {func(w *Writer) error { return w.WriteTensor(w.tensors[0], make([]byte, 1<<20)) }, "1048576 bytes"},
		"padding not zero": {func(w *Writer) error {
			b := make([]byte, 512)
			b[511] = 1
			return w.WriteBundles(0, 0, b)
		}, "want 0"},
		"twice": {func(w *Writer) error {
			x := w.tensors[0]
			return errors.Join(w.WriteTensor(x, make([]byte, x.Bytes())), w.WriteTensor(x, make([]byte, x.Bytes())))
		}, "twice"},
		"no hash": {func(w *Writer) error {
			for i := range w.blockDone {
				w.blockDone[i] = true
			}
			for i := range w.unitDone {
				w.unitDone[i] = true
			}
			return w.Commit("ABC")
		}, "hexadecimal"},
	}
	expert := func(n int) func(w *Writer) error {
		return func(w *Writer) error {
			x, err := w.Expert(1, 2)
			if err != nil {
				return err
			}
			_, err = x.Write(make([]byte, n))
			return errors.Join(err, x.Close())
		}
	}
	experts := map[string]bool{}
	for name, c := range map[string]struct {
		use  func(w *Writer) error
		want string
	}{
		"no such expert":      {func(w *Writer) error { _, err := w.Expert(1, 3); return err }, "got expert 3"},
		"a layer without":     {func(w *Writer) error { _, err := w.Expert(0, 0); return err }, "got expert 0"},
		"an expert too short": {expert(3*2*8*5 - 1), "got 239 bytes of expert 2, want 240"},
		"an expert too long":  {expert(3*2*8*5 + 1), "got 1 bytes of expert 2 more than its 240"},
		"an expert twice":     {func(w *Writer) error { return errors.Join(expert(240)(w), expert(240)(w)) }, "twice"},
		"experts that are left": {func(w *Writer) error {
			for i := range w.blockDone {
				w.blockDone[i] = true
			}
			return errors.Join(expert(240)(w), w.Commit(testSource))
		}, "layers.1.moe.experts: got no expert 0, want all 3 written"},
	} {
		cases[name], experts[name] = c, true
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := smallSpec()
			if experts[name] {
				spec.Profile = withExperts(spec.Profile, 3, 5)
			}
			w, err := Create(filepath.Join(dir, "model.sflow"), spec)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.use(w); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if err := w.Commit(testSource); err == nil {
				t.Error("Commit after an error: got no error")
			}
			if got := names(t, dir); len(got) > 0 {
				t.Errorf("got files %q, want none", got)
			}
		})
	}
}

func TestCreateErrors(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(*Spec){
		"alignment":    func(s *Spec) { s.Align = 100 },
		"heads":        func(s *Spec) { s.Profile.Heads = 3 },
		"element type": func(s *Spec) { s.MLP = 77 },
		"tokenizer":    func(s *Spec) { s.Tokenizer = map[string][]byte{"x.json": {1}} },
		"not empty":    func(s *Spec) { s.Tokenizer = map[string][]byte{"vocab.json": {}} },
		"name":         func(s *Spec) { s.Name = strings.Repeat("n", 1<<20) },
		"UTF-8":        func(s *Spec) { s.Name = "\xff" },
	} {
		spec := smallSpec()
		change(&spec)
		if _, err := Create(filepath.Join(dir, "x.sflow"), spec); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error about it", name, err)
		}
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

// Create removes what killed processes left, and nothing that is in use.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, tempPrefix+"1-0"+tempSuffix)
	other := filepath.Join(dir, "notes.tmp")
	for _, path := range []string{stale, other} {
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	first, err := Create(filepath.Join(dir, "a.sflow"), smallSpec())
	if err != nil {
		t.Fatal(err)
	}
	second, err := Create(filepath.Join(dir, "b.sflow"), smallSpec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stale file: got %v, want it gone", err)
	}
	for _, path := range []string{other, first.temp.Name(), second.temp.Name()} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file in use: %v", err)
		}
	}
	if err := errors.Join(first.Abort(), second.Abort()); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want notes.tmp alone", got)
	}
}

// Two that pack to the same name both end well.
func TestSameNameTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.sflow")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			w, err := Create(path, smallSpec())
			if err != nil {
				t.Error(err)
				return
			}
			if err := writeBest(w); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := Verify(t.Context(), path, nil); err != nil {
		t.Error(err)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("got files %q, want model.sflow alone", got)
	}
}

// childEnv makes the test binary a packer that never stops.
const childEnv = "SPARSEFLOW_TEST_PACK_FOREVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		packForever(path)
	}
	os.Exit(m.Run())
}

func packForever(path string) {
	for {
		w, err := Create(path, smallSpec())
		if err == nil {
			err = writeBest(w)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Remove(path)
	}
}

// A packer killed at any moment leaves a complete pack or none under the final
// name; what else it leaves the next one removes.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.sflow")
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
			t.Fatalf("the packer ended by itself: %v", err)
		}
		child.Wait()
		if err := Verify(t.Context(), path, nil); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, name := range names(t, dir) {
			if name != "model.sflow" && !strings.HasPrefix(name, tempPrefix) {
				t.Fatalf("got a file %q, want temporary files only", name)
			}
			left++
		}
	}
	if left == 0 {
		t.Error("got no file left over in any run: the kills prove nothing")
	}
	w, err := Create(path, smallSpec())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, tempPrefix) && locksWork(t) {
			t.Errorf("got %s, want it swept", name)
		}
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
