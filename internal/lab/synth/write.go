package synth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/convert"
)

// Pack makes the pack that converting the directory of WriteDir would make,
// without the directory. c says what element types it is to have and what it is
// called; its source is the checkpoint.
func Pack(ctx context.Context, path string, o Options, c convert.Options) (r convert.Result, err error) {
	if err := o.Validate(); err != nil {
		return r, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("synth: write %s: %w", path, err)
		}
	}()
	// A worker that fails ends the drawing of a layer that others wait for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := newSource(ctx, o)
	if err != nil {
		return r, err
	}
	defer s.close()
	spec, err := convert.Describe(s, "", c)
	if err != nil {
		return r, err
	}
	l, err := spec.Layout()
	if err != nil {
		return r, err
	}
	if err := convert.RoomFor(filepath.Dir(path), l.Size()); err != nil {
		return r, err
	}
	s.start()
	s.sum = sha256.New()
	c.Progress, c.OnePass = o.Progress, s.digest
	return convert.Convert(ctx, s, "the synthetic checkpoint", path, c)
}

// WriteDir makes a checkpoint directory, a Hugging Face one without tokenizer
// files, and returns its size. dir must not be there, or be empty. It appears
// under its name complete and synced, or not at all.
func WriteDir(ctx context.Context, dir string, o Options) (bytes int64, err error) {
	if err := o.Validate(); err != nil {
		return 0, err
	}
	s, err := newSource(ctx, o)
	if err == nil {
		defer s.close()
		err = s.writeDir(dir)
	}
	if err != nil {
		return 0, fmt.Errorf("synth: write %s: %w", dir, err)
	}
	return s.size(), nil
}

// size is that of all files.
func (s *drawnDir) size() int64 { return int64(len(s.config)) + s.bytes }

// writeDir fills a temporary directory and gives it its name.
func (s *drawnDir) writeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case len(entries) > 0:
		return fmt.Errorf("got a directory with %d entries, want none or an empty one", len(entries))
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	if err := convert.RoomFor(parent, s.size()); err != nil {
		return err
	}
	temp := filepath.Join(parent, ".sparseflow-synth-"+rand.Text())
	if err := os.Mkdir(temp, 0o777); err != nil {
		return err
	}
	s.start()
	if err = s.fillDir(temp); err == nil {
		err = os.Rename(temp, dir) // onto an empty directory too
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return atomicfile.SyncDir(parent)
}

// fillDir writes the files into a directory.
func (s *drawnDir) fillDir(dir string) error {
	buf := make([]byte, 4<<20)
	done := int64(0)
	for _, name := range []string{configFile, weightsFile} {
		f, err := s.Open(name)
		if err != nil {
			return err
		}
		told := writerFunc(func(p []byte) {
			if done += int64(len(p)); s.o.Progress != nil {
				s.o.Progress(name, done, s.size())
			}
		})
		err = atomicfile.Write(filepath.Join(dir, name), func(w io.Writer) error {
			// Hidden are methods that would copy by small buffers of their own.
			_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.TeeReader(f, told), buf)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writerFunc is an io.Writer that never fails.
type writerFunc func(p []byte)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
