package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// tempSuffix ends the name of the file that is to become a sidecar.
const tempSuffix = ".tmp"

// lockPoll is how often a waiting writer tries again.
const lockPoll = 10 * time.Millisecond

// Update changes the sidecar at path, which is one without sections if there is
// no file. Of processes that update at once each sees what the one before it
// wrote, and waits for it until ctx ends; so change is to be quick, and must not
// write to path itself. If change returns nil, the file stays as it is. A file
// there that is damaged or of other weights is an error and stays too.
func Update(ctx context.Context, path, sourceSHA256 string, change func(*Sidecar) *Sidecar) error {
	p, err := createPending(ctx, path)
	if err != nil {
		return fmt.Errorf("sidecar: write %s: %w", path, err)
	}
	defer p.release()
	old, err := Open(path, sourceSHA256)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = New(sourceSHA256), nil
	}
	if err != nil {
		return err
	}
	next := change(old)
	if next == nil {
		return nil
	}
	if err := p.store(next); err != nil {
		return fmt.Errorf("sidecar: write %s: %w", path, err)
	}
	return nil
}

// A pending file is one that is being written beside its final path. Where
// files can be locked its name is fixed, and its lock is what other writers wait
// for: what a killed writer left nobody has locked, and the next one uses it.
type pending struct {
	path   string // the final one
	file   *os.File
	out    output
	locked bool // else its name is of its own
}

// output is the pending file: the seam at which tests let writes fail.
type output interface {
	io.Writer
	Sync() error
}

func createPending(ctx context.Context, path string) (*pending, error) {
	if err := atomicfile.Replaceable(path); err != nil {
		return nil, err
	}
	f, err := filelock.Acquire(ctx, path+tempSuffix, lockPoll, nil)
	if errors.Is(err, errors.ErrUnsupported) {
		return createUnlocked(path)
	}
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &pending{path: path, file: f, out: f, locked: true}, nil
}

// createUnlocked makes a pending file where there are no locks.
func createUnlocked(path string) (*pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+tempSuffix)
	if err != nil {
		return nil, err
	}
	return &pending{path: path, file: f, out: f}, nil
}

// store writes the sidecar and gives the file its name.
func (p *pending) store(s *Sidecar) error {
	l, err := s.layout()
	if err != nil {
		return err
	}
	if err := l.write(p.out); err != nil {
		return err
	}
	// A lock must last until the file has its name; a system without locks may
	// be one that renames no open file.
	sync := p.out.Sync
	if !p.locked {
		sync = func() error { return errors.Join(p.out.Sync(), p.file.Close()) }
	}
	return atomicfile.Commit(sync, p.file.Name(), p.path)
}

// release lets the next writer go on, and removes a file that did not become
// the sidecar.
func (p *pending) release() {
	remove := !p.locked
	if p.locked {
		// Once the file has its name, the temporary one may be another writer's.
		remove, _ = filelock.LeadsTo(p.file.Name(), p.file)
	} else {
		p.file.Close()
	}
	if remove {
		// Before the lock ends. What cannot be removed the next writer uses.
		os.Remove(p.file.Name())
	}
	p.file.Close()
}
