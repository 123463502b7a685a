package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
)

// settled is how old a file's modification time must be before a hash is
// remembered by it: a younger file could change once more within the clock's
// grain, with no trace (the "racy git" problem).
const settled = 2 * time.Second

// A memory is what is remembered of one checkpoint: its hash, and by what to
// tell that it has not changed. It is a JSON file of the cache directory, called
// by the checkpoint's path.
type memory struct {
	Path   string      `json:"path"`
	SHA256 string      `json:"sha256"`
	Sample string      `json:"sample"` // SHA-256 of some of the contents
	Files  []fileStamp `json:"files"`
}

// A fileStamp tells two states of a file apart without reading it.
type fileStamp struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"`
	ModTime time.Time `json:"mtime"`
	// Of a file that was put in the place of another, with its size and time as
	// archives and images keep them, these differ; zero where they are not known.
	Inode   uint64    `json:"inode,omitempty"`
	Changed time.Time `json:"ctime,omitzero"`
}

// rememberedHash is the checkpoint's hash, by memory if the files are as they
// were. Files without modification times (embedded ones) are hashed each time.
// With quick others are not hashed at all: what is not remembered is "".
func (s *opened) rememberedHash(ctx context.Context, cacheDir string, quick bool) (string, error) {
	now := memory{Path: s.name}
	var newest time.Time
	for _, name := range s.files() {
		info, err := fs.Stat(s.fsys, name)
		if err != nil {
			return "", fmt.Errorf("convert: hash %s: %w", path.Join(s.name, name), err)
		}
		f := fileStamp{Name: name, Bytes: info.Size(), ModTime: info.ModTime().UTC()}
		if f.ModTime.IsZero() {
			return s.hash(ctx)
		}
		f.Inode, f.Changed = identity(info)
		if f.ModTime.After(newest) {
			newest = f.ModTime
		}
		now.Files = append(now.Files, f)
	}
	// Images of a file system can agree in all of that.
	sample := sha256.New()
	sample.Write(s.config)
	if err := s.ckpt.Sample(sample); err != nil {
		return "", fmt.Errorf("convert: hash %s: %w", s.name, err)
	}
	now.Sample = hex.EncodeToString(sample.Sum(nil))
	key := sha256.Sum256([]byte(s.name))
	at := filepath.Join(cacheDir, "source-"+hex.EncodeToString(key[:16])+".json")
	if hash, ok := now.recall(at); ok {
		return hash, nil
	}
	if quick {
		return "", nil
	}
	began := time.Now()
	hash, err := s.hash(ctx)
	if err != nil {
		return "", err
	}
	if began.Sub(newest) > settled {
		now.SHA256 = hash
		now.store(at)
	}
	return hash, nil
}

// recall is the hash remembered at path, if it is of the same files.
func (m memory) recall(path string) (hash string, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	var old memory
	if json.Unmarshal(b, &old) != nil || len(old.SHA256) != 2*sha256.Size {
		return "", false
	}
	same := slices.EqualFunc(old.Files, m.Files, func(a, b fileStamp) bool {
		return a.Name == b.Name && a.Bytes == b.Bytes && a.Inode == b.Inode && a.ModTime.Equal(b.ModTime) && a.Changed.Equal(b.Changed)
	})
	return old.SHA256, same && old.Path == m.Path && old.Sample == m.Sample
}

// store writes the memory. It is a convenience: where it fails, the next start
// hashes again.
func (m memory) store(path string) {
	b, err := json.Marshal(m)
	if err == nil {
		_ = atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
}
