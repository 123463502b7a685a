// Package pull downloads models from the Hugging Face hub into its cache, laid out
// as huggingface_hub lays it out, so that other programs find them there and this
// one finds theirs: see package hub.
//
// A file is a blob, named by its hash, and a link in the snapshot of a revision.
// A blob that is on its way ends in .incomplete and is continued by the next pull.
// It gets its name when its length and hash are right, and refs/main leads to a
// snapshot when all of it is there.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// Options say where from, where to, and who is told.
type Options struct {
	Endpoint string // of the hub; "": that of HF_ENDPOINT or the usual one
	Token    string // "": that of the environment, if any
	CacheDir string // of the hub; "": where package hub looks first
	Client   *http.Client
	// Progress is told how much of all files is there.
	Progress func(what string, done, total int64)

	noWait bool // between tries
}

// A Result is what is here after a pull.
type Result struct {
	Name     string // what to call the model by
	Dir      string // its snapshot
	Revision string
	Files    int
	Bytes    int64 // of all files
	Fetched  int64 // bytes that came over the network
}

// Model downloads org/name, a checkpoint's directory, or org/name:QUANT, the GGUF
// files of a quantisation.
func Model(ctx context.Context, name string, o Options) (r Result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pull %s: %w", name, err)
		}
	}()
	id, quant, _ := strings.Cut(name, ":")
	if !hub.IsRepoID(id) {
		return r, fmt.Errorf("got %q, want org/name or org/name:QUANT of the Hugging Face hub", name)
	}
	c, err := newClient(o)
	if err != nil {
		return r, err
	}
	if o.CacheDir == "" {
		if o.CacheDir, err = hub.HubDir(); err != nil {
			return r, err
		}
	}
	repo, err := c.list(ctx, id)
	if err != nil {
		return r, err
	}
	files, err := choose(repo.Files, id, quant)
	if err != nil {
		return r, err
	}
	root := filepath.Join(o.CacheDir, hub.RepoDir(id))
	p := puller{c: c, o: o, id: id, revision: repo.SHA, blobs: filepath.Join(root, "blobs"), snapshot: filepath.Join(root, "snapshots", repo.SHA)}
	for _, f := range files {
		p.total += f.Size
	}
	if err := os.MkdirAll(p.blobs, 0o777); err != nil {
		return r, err
	}
	for _, f := range files {
		if err := p.file(ctx, f); err != nil {
			return r, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := writeRef(filepath.Join(root, "refs", "main"), repo.SHA); err != nil {
		return r, err
	}
	return Result{Name: name, Dir: p.snapshot, Revision: repo.SHA, Files: len(files), Bytes: p.total, Fetched: p.fetched}, nil
}

// A puller downloads the files of one revision.
type puller struct {
	c               *client
	o               Options
	id, revision    string
	blobs, snapshot string

	total, done, fetched int64 // bytes: of all files, there, and of this pull
}

const incomplete = ".incomplete"

// file sees that a file is in the snapshot.
func (p *puller) file(ctx context.Context, f file) error {
	blob := filepath.Join(p.blobs, f.blob())
	at := filepath.Join(p.snapshot, filepath.FromSlash(f.Path))
	if there(at, f.Size) { // as a link, or by itself where links cannot be made
		p.advance(f, f.Size)
		return nil
	}
	unlock, err := p.lock(ctx, f)
	if err != nil {
		return err
	}
	defer unlock()
	if there(blob, f.Size) {
		p.advance(f, f.Size)
	} else if err := p.fetch(ctx, f, blob); err != nil {
		return err
	}
	return link(blob, at)
}

// lockPoll is how often a pull asks whether another has got a file.
const lockPoll = 200 * time.Millisecond

// lock waits until no other process, huggingface_hub's own among them, downloads
// the same blob. Where there are no locks it goes without.
func (p *puller) lock(ctx context.Context, f file) (unlock func(), err error) {
	dir := filepath.Join(p.o.CacheDir, ".locks", hub.RepoDir(p.id))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	held, err := filelock.Acquire(ctx, filepath.Join(dir, f.blob()+".lock"), lockPoll, nil)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return func() {}, nil
	}
	return func() { held.Close() }, nil
}

func (p *puller) advance(f file, n int64) {
	p.done += n
	if p.o.Progress != nil {
		p.o.Progress("pulling "+path.Base(f.Path), p.done, p.total)
	}
}

// there reports whether path leads to a file of so many bytes.
func there(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// link makes at lead to blob. Where the system has no links the blob itself goes
// there.
func link(blob, at string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
		return err
	}
	to, err := filepath.Rel(filepath.Dir(at), blob)
	if err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Symlink(to, at) == nil {
		return nil
	}
	return os.Rename(blob, at)
}

// writeRef has a reference lead to a revision.
func writeRef(path, revision string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(revision), 0o666)
}
