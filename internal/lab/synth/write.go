package synth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// A directory under way is called tempPrefix, the process's id and a number,
// and holds a locked file called lockFile for as long as it is written to.
const (
	tempPrefix = ".sparseflow-synth-"
	lockFile   = "lock"
)

// writeBytes is how much is made and written at a time.
const writeBytes = 4 << 20

// WriteDir makes a checkpoint directory, a Hugging Face one without tokenizer
// files, and returns its size. dir must not be there, or be empty. It appears
// under its name complete and synced, or not at all.
func WriteDir(ctx context.Context, dir string, o Options) (bytes int64, err error) {
	if err := o.Validate(); err != nil {
		return 0, err
	}
	if err := mayMake(dir); err != nil {
		return 0, err
	}
	s, err := newSource(ctx, o)
	if err != nil {
		return 0, fmt.Errorf("synth: write %s: %w", dir, err)
	}
	defer s.close()
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return 0, fmt.Errorf("synth: write %s: %w", dir, err)
	}
	sweep(parent)
	if err := convert.RoomFor(parent, s.size()); err != nil {
		return 0, fmt.Errorf("synth: write %s: %w", dir, err)
	}
	s.start()
	if err := s.writeDir(dir, parent); err != nil {
		return 0, fmt.Errorf("synth: write %s: %w", dir, err)
	}
	return s.size(), nil
}

// mayMake refuses a directory that would be lost.
func mayMake(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("synth: write: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("synth: write %s: got a directory with %d entries, want none or an empty one", dir, len(entries))
	}
	return nil
}

// writeDir fills a temporary directory and gives it its name.
func (s *drawnDir) writeDir(dir, parent string) error {
	temp, err := makeTemp(parent)
	if err != nil {
		return err
	}
	err = s.fillDir(temp)
	if err == nil {
		err = os.Rename(temp, dir) // onto an empty directory too
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return atomicfile.SyncDir(parent)
}

// makeTemp makes a directory with the permissions that a user's have.
func makeTemp(parent string) (string, error) {
	for n := 0; ; n++ {
		path := filepath.Join(parent, fmt.Sprintf("%s%d-%d", tempPrefix, os.Getpid(), n))
		if err := os.Mkdir(path, 0o777); !errors.Is(err, fs.ErrExist) || n == 10_000 {
			return path, err
		}
	}
}

func (s *drawnDir) fillDir(temp string) error {
	lock, err := os.Create(filepath.Join(temp, lockFile))
	if err != nil {
		return err
	}
	defer lock.Close()
	_, _ = filelock.Try(lock) // where there are no locks, nobody sweeps
	done := int64(0)
	for _, f := range s.files {
		if err := s.copyFile(filepath.Join(temp, f.name), f, &done); err != nil {
			return err
		}
	}
	if err := os.Remove(lock.Name()); err != nil {
		return err
	}
	return atomicfile.SyncDir(temp)
}

// copyFile writes one file; done counts the bytes of all.
func (s *drawnDir) copyFile(path string, f *file, done *int64) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	buf := make([]byte, writeBytes)
	for off := int64(0); off < f.bytes && err == nil; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), f.bytes-off)]
		if _, err = s.readAt(f, buf, off); err != nil {
			break
		}
		if _, err = out.Write(buf); err == nil {
			*done += int64(len(buf))
			s.report(f.name, *done)
		}
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func (s *drawnDir) report(what string, done int64) {
	if s.o.Progress != nil {
		s.o.Progress(what, done, s.size())
	}
}

// sweep removes what killed processes left in dir, as far as it can.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if held, err := filelock.Try(lock); held && err == nil {
			os.RemoveAll(path)
		}
		lock.Close()
	}
}
