//go:build unix

package atomicfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

func put(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// only holds a directory to one file with the given text.
func only(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("got %q, %v, want %q", got, err, text)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want one file", entries, err)
	}
}

// A file appears whole, replaces a regular file, and stays as it was if the
// writer fails.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := atomicfile.Write(path, put("one")); err != nil {
		t.Fatal(err)
	}
	only(t, path, "one")
	if err := atomicfile.Write(path, put("two")); err != nil {
		t.Fatal(err)
	}
	only(t, path, "two")
	boom := errors.New("boom")
	if err := atomicfile.Write(path, func(io.Writer) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
	only(t, path, "two")
}

// What is no regular file stays what it is, also behind a link.
func TestOnlyRegularFilesGiveWay(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "a pipe", link: "a pipe", dir: "a directory", os.DevNull: "a device"} {
		if err := atomicfile.Write(path, put("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that names %s", path, err, want)
		}
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is gone: %v, %v", info, err)
	}
	gone := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), gone); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(gone, put("x")); err != nil {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}
