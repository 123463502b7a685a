package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// lockPoll is how often a process asks whether another has finished packing the
// same model.
const lockPoll = 100 * time.Millisecond

// Cached returns the path of a pack of the checkpoint at the root of src, which
// it makes in cacheDir unless it is there. srcName is the checkpoint's path, for
// errors and to remember its hash by: pass an absolute one.
//
// The pack is called by a hash of the source, what its configuration says, its
// tokenizer files and the element types. Of processes that want the same pack at
// once, one makes it and the others wait; where files cannot be locked each makes
// it and the last one's stays. A pack there that cannot be opened, such as one of
// an older version, is made again.
func Cached(ctx context.Context, src fs.FS, srcName, cacheDir string, o Options) (string, error) {
	s, err := openSource(checkpointAt(src, srcName))
	if err != nil {
		return "", err
	}
	defer s.ckpt.Close()
	return s.cached(ctx, cacheDir, o)
}

// cached is Cached.
func (s *opened) cached(ctx context.Context, cacheDir string, o Options) (string, error) {
	if err := os.MkdirAll(cacheDir, 0o777); err != nil {
		return "", fmt.Errorf("convert: cache directory: %w; choose another by --cache-dir", err)
	}
	var err error
	if o.SourceSHA256 == "" {
		if o.SourceSHA256, err = s.rememberedHash(ctx, cacheDir, false); err != nil {
			return "", err
		}
	}
	spec, path, err := s.cachePath(cacheDir, o)
	if err != nil || usable(path, o) {
		return path, err
	}
	unlock, err := lock(ctx, path+".lock", o)
	if err != nil {
		return "", err
	}
	defer unlock()
	if usable(path, o) { // made while we waited
		return path, nil
	}
	if err := announce(spec, path, o); err != nil {
		return "", err
	}
	r, err := s.convert(ctx, path, o)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w; choose another directory by --cache-dir", err)
	}
	if err != nil {
		return "", err
	}
	for _, n := range r.Notices {
		o.notify("%s: %s", s.name, n)
	}
	return path, nil
}

// known is the path of the pack that Cached would return without making or hashing
// anything, "" if it would.
func (s *opened) known(ctx context.Context, cacheDir string, o Options) (path string, err error) {
	o.SourceSHA256, err = s.rememberedHash(ctx, cacheDir, true)
	if o.SourceSHA256 == "" || err != nil {
		return "", err
	}
	_, path, err = s.cachePath(cacheDir, o)
	if err != nil || !usable(path, Options{}) {
		return "", err
	}
	return path, nil
}

// cachePath is the pack that o asks for, and its path, which is called by all
// that determines its contents but its layout.
func (s *opened) cachePath(cacheDir string, o Options) (spec pack.Spec, path string, err error) {
	if spec, err = s.spec(o); err != nil {
		return spec, "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %v %v %+v\n", o.SourceSHA256, spec.Attn, spec.MLP, spec.Profile)
	for _, name := range pack.TokenizerFiles() {
		if b, ok := spec.Tokenizer[name]; ok {
			fmt.Fprintf(h, "%s %d\n", name, len(b))
			h.Write(b)
		}
	}
	return spec, filepath.Join(cacheDir, hex.EncodeToString(h.Sum(nil))+".sflow"), nil
}

// usable reports whether there is a pack at path that opens.
func usable(path string, o Options) bool {
	p, err := pack.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		o.notify("the pack in the cache cannot be used and is made again: %v", err)
		return false
	}
	p.Close()
	return true
}

// lock waits until this process alone may make the pack, and returns what ends
// that.
func lock(ctx context.Context, path string, o Options) (unlock func(), err error) {
	f, err := filelock.Acquire(ctx, path, lockPoll, func() {
		o.notify("another process is packing this model; waiting for it")
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("convert: %w", err)
	case err != nil:
		// If nothing can be written here at all, creating the pack will tell.
		o.notify("no lock, so that processes that start now may each pack this model: %v", err)
		return func() {}, nil
	}
	return func() { os.Remove(path); f.Close() }, nil
}

// RoomFor reports that dir's file system has less space left than want bytes,
// as far as that is known.
func RoomFor(dir string, want int64) error {
	if got, ok := freeBytes(dir); ok && got < want {
		return fmt.Errorf("%s: got %d bytes (%s) of free space, want %d (%s)",
			dir, got, config.FormatSize(got), want, config.FormatSize(want))
	}
	return nil
}

// announce says what is about to be written, and refuses if it cannot fit.
func announce(spec pack.Spec, path string, o Options) error {
	l, err := spec.Layout()
	if err != nil {
		return err
	}
	want := l.Size()
	if err := RoomFor(filepath.Dir(path), want); err != nil {
		return fmt.Errorf("convert: pack %s into %w; choose another directory by --cache-dir", spec.Name, err)
	}
	o.notify("packing %s once into %s (%s)", spec.Name, path, config.FormatSize(want))
	return nil
}
