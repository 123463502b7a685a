package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPathFor(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "made", "for", "it")
	packPath := filepath.Join(dir, "m.sflow")
	if got, err := PathFor(packPath, cache, testSource); got != packPath+".side" || err != nil {
		t.Errorf("got %s, %v, want the path beside the pack", got, err)
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("got files %q, want none made", got)
	}
	sealed := sealedPack(t)
	if got, err := PathFor(sealed, cache, testSource); got != filepath.Join(cache, testSource+".side") || err != nil {
		t.Errorf("got %s, %v, want a path in the cache", got, err)
	}
	if err := small().Write(t.Context(), filepath.Join(cache, testSource+".side")); err != nil {
		t.Error(err)
	}
	refused := map[string]string{"none": "", "a file": filepath.Join(cache, testSource+".side")}
	if dir := filepath.Dir(sealed); exists(dir) {
		refused["sealed"] = dir
	}
	for what, cacheDir := range refused {
		if got, err := PathFor(sealed, cacheDir, testSource); err == nil || !strings.Contains(err.Error(), "--cache-dir") {
			t.Errorf("cache directory %s: got %s, %v, want an error with the way out", what, got, err)
		}
	}
	if _, err := PathFor(packPath, cache, "../x"); err == nil {
		t.Error("no hash: got no error")
	}
}

// sealedPack is the path of a pack in a directory that cannot be written to.
// Nothing stops root but that there is no directory.
func sealedPack(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sealed")
	if err := os.Mkdir(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if writable(dir) {
		dir = filepath.Join(dir, "none")
	}
	return filepath.Join(dir, "m.sflow")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	packPath := filepath.Join(dir, "m.sflow")
	cached := filepath.Join(cache, testSource+".side")
	if err := os.Mkdir(cache, 0o777); err != nil {
		t.Fatal(err)
	}
	put := func(s *Sidecar, path string) {
		t.Helper()
		if err := s.Write(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	look := func(cacheDir, want string) {
		t.Helper()
		s, err := Lookup(packPath, cacheDir, testSource)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, name := range s.Names() {
			sec, _ := s.Section(name)
			got.WriteString(name + string(sec.JSON) + " ")
		}
		if got.String() != want {
			t.Errorf("got %s, want %s", got.String(), want)
		}
	}
	one := func(name, json string) Section { return Section{JSON: []byte(json)} }

	if _, err := Lookup(packPath, cache, testSource); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), cached) {
		t.Errorf("got %v, want %v and the places", err, fs.ErrNotExist)
	}
	if _, err := Lookup(packPath, "", testSource); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no cache: got %v, want %v", err, fs.ErrNotExist)
	}
	put(New(testSource).With("a", one("a", "1")).With("b", one("b", "1")), cached)
	look(cache, "a1 b1 ")
	put(New(testSource).With("b", one("b", "2")).With("c", one("c", "2")), packPath+".side")
	look(cache, "a1 b2 c2 ") // beside the pack is where one would write
	look("", "b2 c2 ")

	// Where the pack's directory is sealed, the cache counts most. First for
	// all, then by what the system says.
	s, err := lookup([]string{cached, packPath + ".side"}, testSource)
	if err != nil {
		t.Fatal(err)
	}
	if sec, _ := s.Section("b"); string(sec.JSON) != "1" || len(s.Names()) != 3 {
		t.Errorf("got b%s of %q, want b1 of a, b, c", sec.JSON, s.Names())
	}

	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if !writable(dir) { // not so for root
		look(cache, "a1 b1 c2 ")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}

	// Another model was packed under this name.
	put(New(otherSource), packPath+".side")
	look(cache, "a1 b1 ")
	var mismatch *MismatchError
	if _, err := Lookup(packPath, "", testSource); !errors.As(err, &mismatch) {
		t.Errorf("got %v, want a MismatchError", err)
	}
	if err := os.WriteFile(packPath+".side", []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Lookup(packPath, cache, testSource); err == nil || !strings.Contains(err.Error(), packPath) {
		t.Errorf("damaged: got %v, want an error that names the file", err)
	}
	if _, err := Lookup(packPath, cache, ""); err == nil {
		t.Error("no hash: got no error")
	}
}
