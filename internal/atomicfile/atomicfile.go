// Package atomicfile writes files that appear under their names complete and
// synced, or not at all. What is there before may be replaced if it is a regular
// file: a device, a pipe or a directory never is.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replaceable reports that something lies at path which must not give way to a
// file. Links count as what they lead to; one that leads nowhere may go.
func Replaceable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory, want the name of a file", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file but %s, want a new name or that of a regular file", path, kind(info.Mode()))
	}
	return nil
}

// kind is a file's type in words.
func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return m.Type().String()
}

// Write makes the file at path of what write writes.
func Write(path string, write func(io.Writer) error) (err error) {
	if err := Replaceable(path); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), ".sparseflow-"+rand.Text()+".tmp")
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(temp) // not there any more if it has its name
		}
	}()
	buf := bufio.NewWriter(f)
	if err := write(buf); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return Commit(f.Sync, temp, path)
}

// Commit gives the file that lies complete at temp its name, once sync has
// brought it to the disk.
func Commit(sync func() error, temp, path string) error {
	// Asked late too: the work may have taken an hour.
	if err := Replaceable(path); err != nil {
		return err
	}
	if err := sync(); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
