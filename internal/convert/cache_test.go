package convert

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/pack/filelock"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// makeCheckpoint writes a small checkpoint with a tokenizer, an hour old.
func makeCheckpoint(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	randomOPT{vocab: 20, d: 8, layers: 2, heads: 2, ffn: 24, positions: 10, dtype: tensor.F16, shards: 2}.write(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "vocab.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	age(t, dir)
	return dir
}

func age(t *testing.T, dir string) {
	t.Helper()
	hourAgo := time.Now().Add(-time.Hour)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chtimes(filepath.Join(dir, e.Name()), hourAgo, hourAgo); err != nil {
			t.Fatal(err)
		}
	}
}

// The hash is the documented one.
func TestSourceHash(t *testing.T) {
	dir := makeCheckpoint(t)
	h := sha256.New()
	for _, name := range []string{"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s\x00%d\x00%s", name, len(b), b)
	}
	want := fmt.Sprintf("%x", h.Sum(nil))
	if got, err := SourceHash(t.Context(), os.DirFS(dir), dir); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	path := filepath.Join(t.TempDir(), "m.sflow")
	if r, err := Convert(t.Context(), os.DirFS(dir), dir, path, Options{}); err != nil || r.SourceSHA256 != want {
		t.Errorf("Convert: got %s, %v, want %s", r.SourceSHA256, err, want)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.SourceSHA256() != want || p.Name() != "model" {
		t.Errorf("the pack: got %s and %s, want %s and model", p.SourceSHA256(), p.Name(), want)
	}
}

// A cacher calls Cached and says what it made.
type cacher struct {
	t   *testing.T
	dir string
	mu  sync.Mutex
	log []string
}

func (c *cacher) cached(src string, o Options) string {
	c.t.Helper()
	c.log = nil
	o.Notify = func(m string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.log = append(c.log, m)
	}
	path, err := Cached(c.t.Context(), os.DirFS(src), src, c.dir, o)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := pack.Verify(c.t.Context(), path, nil); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *cacher) said(what string) bool {
	return slices.ContainsFunc(c.log, func(m string) bool { return strings.Contains(m, what) })
}

// A checkpoint is packed once, and again whenever something that the pack is
// made of has changed.
func TestCached(t *testing.T) {
	src := makeCheckpoint(t)
	c := &cacher{t: t, dir: filepath.Join(t.TempDir(), "a", "b")}
	first := c.cached(src, Options{})
	if !c.said("packing model once into " + first) {
		t.Errorf("first: got messages %q, want the announcement", c.log)
	}
	if again := c.cached(src, Options{}); again != first || len(c.log) > 0 {
		t.Errorf("again: got %s, messages %q, want %s and none", again, c.log, first)
	}
	if q := c.cached(src, Options{MLP: F32}); q == first || !c.said("packing") {
		t.Errorf("another type: got %s, messages %q, want another pack", q, c.log)
	}
	seen := map[string]bool{}
	for _, o := range []Options{{MLP: F32}, {Attn: Q8_0}, {Attn: Q4_0}, {Attn: Q4_0, MLP: F32}, {}} {
		seen[c.cached(src, o)] = true
	}
	if len(seen) != 5 {
		t.Errorf("five choices of types: got %d packs, want as many", len(seen))
	}
	if q := c.cached(src, Options{MLP: F16, Attn: F16}); q != first {
		t.Errorf("the stored type by name: got %s, want %s", q, first)
	}
	if err := os.WriteFile(filepath.Join(src, "vocab.json"), []byte(`{"a":1}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if q := c.cached(src, Options{}); q == first {
		t.Error("another tokenizer: got the old pack")
	}
	if err := os.WriteFile(first, []byte("not a pack"), 0o666); err != nil {
		t.Fatal(err)
	}
	edit(t, src, "vocab.json", `{"a":1}`, "{}")
	if again := c.cached(src, Options{}); again != first || !c.said("made again") {
		t.Errorf("a damaged pack: got %s, messages %q, want %s made again", again, c.log, first)
	}
	for _, e := range entries(t, c.dir) {
		if filepath.Ext(e) != ".sflow" && filepath.Ext(e) != ".json" {
			t.Errorf("got %s left in the cache directory, want packs and memories", e)
		}
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// remembered is the hash of the checkpoint in src by the memory in cache.
func remembered(t *testing.T, src, cache string, quick bool) string {
	t.Helper()
	s, err := openSource(checkpointAt(os.DirFS(src), src))
	if err != nil {
		t.Fatal(err)
	}
	defer s.ckpt.Close()
	h, err := s.rememberedHash(t.Context(), cache, quick)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A hash is remembered, but not while the files are so young that a change might
// not show.
func TestRemember(t *testing.T) {
	src, cache := makeCheckpoint(t), t.TempDir()
	hash := func() string { return remembered(t, src, cache, false) }
	first := hash()
	if remembered(t, src, cache, true) != first {
		t.Error("the same files: got nothing remembered")
	}
	edit(t, src, "config.json", "relu", "silu")
	age(t, src)
	if hash() == first {
		t.Error("another time: got the old hash")
	}
	edit(t, src, "config.json", "silu", "relu")
	if hash() != first {
		t.Error("the first contents: got another hash")
	}
	edit(t, src, "config.json", "relu", "gelu") // young: must not be remembered by now
	hash()
	if got := remembered(t, src, cache, true); got != "" {
		t.Errorf("young files: got %s remembered, want nothing", got)
	}
}

// Other contents of the same size and time are seen: written over the old ones,
// put in their place, or of a file system that gives no numbers and times.
func TestRememberSameTimes(t *testing.T) {
	const shard = "model-00001-of-00002.safetensors"
	src, cache := makeCheckpoint(t), t.TempDir()
	path := filepath.Join(src, shard)
	first := remembered(t, src, cache, false)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(old)
	other[len(other)-1] ^= 1 // in the last tensor, which the sample may miss
	put := func(to string, b []byte) {
		if err := os.WriteFile(to, b, 0o666); err != nil {
			t.Fatal(err)
		}
		hourAgo, err := os.Stat(filepath.Join(src, "config.json"))
		if err == nil {
			err = os.Chtimes(to, hourAgo.ModTime(), hourAgo.ModTime())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(path, other)
	if remembered(t, src, cache, false) == first {
		t.Error("written over: got the old hash")
	}
	put(path, old)
	if remembered(t, src, cache, false) != first {
		t.Error("the first contents: got another hash")
	}
	put(path+".new", other)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if remembered(t, src, cache, false) == first {
		t.Error("put in its place: got the old hash")
	}

	// A file system of fixed times and without numbers.
	files, data := fstest.MapFS{}, []byte(nil)
	for _, e := range entries(t, src) {
		b, err := os.ReadFile(filepath.Join(src, e))
		if err != nil {
			t.Fatal(err)
		}
		if e == shard {
			data = b
		}
		files[e] = &fstest.MapFile{Data: b, ModTime: time.Unix(1, 0)}
	}
	hash := func() string {
		s, err := openSource(checkpointAt(files, "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.ckpt.Close()
		h, err := s.rememberedHash(t.Context(), cache, false)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first = hash()
	for i := len(data) / 2; i < len(data); i++ {
		data[i] ^= 1
	}
	if hash() == first {
		t.Error("another image: got the old hash")
	}
}

// What generation_config.json says is in the pack, and another one makes
// another pack of the same source.
func TestCachedGeneration(t *testing.T) {
	src := makeCheckpoint(t)
	c := &cacher{t: t, dir: t.TempDir()}
	first := c.cached(src, Options{})
	generation := filepath.Join(src, "generation_config.json")
	if err := os.WriteFile(generation, []byte(`{"eos_token_id":[2,7,99999],"do_sample":true,"top_p":0.5}`), 0o666); err != nil {
		t.Fatal(err)
	}
	path := c.cached(src, Options{})
	if path == first || !c.said("99999 is no token") {
		t.Errorf("got %s and messages %q, want another pack than %s and a note", path, c.log, first)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got := p.Profile()
	if g := got.Generation; !got.IsEOS(7) || !g.Sample || g.TopP != 0.5 || g.TopK != 50 {
		t.Errorf("got %+v, want what the file says", g)
	}
	if err := os.WriteFile(generation, []byte("{half"), 0o666); err != nil {
		t.Fatal(err)
	}
	if again := c.cached(src, Options{}); again != first || len(c.log) > 0 {
		t.Errorf("a broken file: got %s and messages %q, want %s", again, c.log, first)
	}
}

// Files of a tokenizer that cannot be read are left out, with a note.
func TestUnreadableTokenizer(t *testing.T) {
	src := makeCheckpoint(t)
	if err := os.Mkdir(filepath.Join(src, "tokenizer.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	c := &cacher{t: t, dir: t.TempDir()}
	if c.cached(src, Options{}); !c.said("tokenizer.json is left out") {
		t.Errorf("got messages %q, want a note of tokenizer.json", c.log)
	}
}

// Where files cannot be locked, or the lock is another user's, packing goes on.
func TestCachedWithoutLock(t *testing.T) {
	src := makeCheckpoint(t)
	c := &cacher{t: t, dir: t.TempDir()}
	path := c.cached(src, Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".lock", 0o777); err != nil { // cannot be opened for writing
		t.Fatal(err)
	}
	if again := c.cached(src, Options{}); again != path {
		t.Errorf("got %s, want %s", again, path)
	}
}

// The embedded model packs too; its files have no times, so nothing is
// remembered of it.
func TestCachedTiny(t *testing.T) {
	dir := t.TempDir()
	path, err := Cached(t.Context(), tiny.Files, "tiny", dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Name() != "tiny" || p.Profile().VocabSize != 4096 || p.MLPDType() != tensor.F16 {
		t.Errorf("got %s, %+v, %v", p.Name(), p.Profile(), p.MLPDType())
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("got files %q, want the pack alone", got)
	}
}

// Many that want the same pack at once all get it, made once.
func TestCachedTogether(t *testing.T) {
	src, dir := makeCheckpoint(t), t.TempDir()
	var mu sync.Mutex
	var wg sync.WaitGroup
	made := 0
	for range 6 {
		wg.Go(func() {
			path, err := Cached(t.Context(), os.DirFS(src), src, dir, Options{Notify: func(m string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(m, "once into") {
					made++
				}
			}})
			if err == nil {
				err = pack.Verify(t.Context(), path, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("got the pack made %d times, want once", made)
	}
}

// Waiting for another process ends with the context.
func TestCachedWait(t *testing.T) {
	src, dir := makeCheckpoint(t), t.TempDir()
	c := &cacher{t: t, dir: dir}
	path := c.cached(src, Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if held, err := filelock.Try(f); !held || err != nil {
		t.Skip("locks:", held, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said []string
	_, err = Cached(ctx, os.DirFS(src), src, dir, Options{Notify: func(m string) {
		said = append(said, m)
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || len(said) != 1 || !strings.Contains(said[0], "another process") {
		t.Errorf("got %v and messages %q, want %v and that another process is packing", err, said, context.Canceled)
	}
}

// A cache directory without room is refused before any work, with the way out.
func TestCachedSpace(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a small tmpfs: %v %s", err, out)
	}
	defer exec.Command("umount", dir).Run()
	src := makeCheckpoint(t)
	_, err := Cached(t.Context(), os.DirFS(src), src, dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "--cache-dir") || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("got %v, want an error with both sizes and --cache-dir", err)
	}
	for _, e := range entries(t, dir) {
		if !strings.HasPrefix(e, "source-") {
			t.Errorf("got %s left, want memories alone", e)
		}
	}
}

// What is known is what Cached would return, as long as nothing has to be made or
// hashed for it.
func TestKnown(t *testing.T) {
	src, cache := makeCheckpoint(t), t.TempDir()
	ctx, fsys := t.Context(), os.DirFS(src)
	known := func() string {
		t.Helper()
		s, err := openSource(checkpointAt(fsys, src))
		if err != nil {
			t.Fatal(err)
		}
		defer s.ckpt.Close()
		path, err := s.known(ctx, cache, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := known(); got != "" {
		t.Errorf("got %s, want nothing known yet", got)
	}
	old := time.Now().Add(-time.Hour)
	for _, f := range entries(t, src) {
		if err := os.Chtimes(filepath.Join(src, f), old, old); err != nil {
			t.Fatal(err)
		}
	}
	want, err := Cached(ctx, fsys, src, cache, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := known(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
