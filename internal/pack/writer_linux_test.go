package pack

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A full file system is reported before any work, and nothing is left there.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("mounting a small tmpfs:", err)
	}
	defer syscall.Unmount(dir, 0)
	_, err := Create(filepath.Join(dir, "model.sflow"), smallSpec())
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("got files %q, want none", got)
	}
}

// A pipe in a pack's place is refused rather than waited for.
func TestOpenPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.sflow")
	if err := syscall.Mkfifo(path, 0o666); err != nil {
		t.Skip(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("got %v, want the pipe refused", err)
	}
}
