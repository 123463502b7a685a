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
	"time"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/source"
)

// settled is how old a file's modification time must be before a hash is
// remembered by it: a younger file could change once more within the clock's
// grain, with no trace (the "racy git" problem).
const settled = 2 * time.Second

// A memory is what is remembered of one checkpoint. It is a JSON file of the
// cache directory, called by the checkpoint's path.
type memory struct {
	State  string `json:"state"`  // SHA-256 of what tells two states of the files apart
	SHA256 string `json:"sha256"` // the checkpoint's hash
}

// rememberedHash is the checkpoint's hash, by memory if the files are as they
// were. Files without modification times (embedded ones) are hashed each time.
// With quick others are not hashed at all: what is not remembered is "".
func (s *opened) rememberedHash(ctx context.Context, cacheDir string, quick bool) (string, error) {
	state := sha256.New()
	fmt.Fprintf(state, "%q\n", s.name)
	var newest time.Time
	for _, name := range s.files() {
		info, err := fs.Stat(s.fsys, name)
		if err != nil {
			return "", fmt.Errorf("convert: hash %s: %w", path.Join(s.name, name), err)
		}
		modified := info.ModTime()
		if modified.IsZero() {
			return s.hash(ctx)
		}
		if modified.After(newest) {
			newest = modified
		}
		// Of a file that was put in the place of another, with its size and time as
		// archives and images keep them, the last two differ.
		inode, changed := source.Identity(info)
		fmt.Fprintf(state, "%q %d %d %d %d\n", name, info.Size(), modified.UnixNano(), inode, changed.UnixNano())
	}
	// Images of a file system can agree in all of that.
	state.Write(s.config)
	if err := s.ckpt.Sample(state); err != nil {
		return "", fmt.Errorf("convert: hash %s: %w", s.name, err)
	}
	now := memory{State: hex.EncodeToString(state.Sum(nil))}
	key := sha256.Sum256([]byte(s.name))
	at := filepath.Join(cacheDir, "source-"+hex.EncodeToString(key[:16])+".json")
	if old := readMemory(at); old.State == now.State && len(old.SHA256) == 2*sha256.Size {
		return old.SHA256, nil
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

// readMemory reads the memory at path, a zero one if there is none.
func readMemory(path string) (m memory) {
	if b, err := os.ReadFile(path); err != nil || json.Unmarshal(b, &m) != nil {
		return memory{}
	}
	return m
}

// store writes the memory. It is a convenience: where it fails, the next start
// hashes again.
func (m memory) store(path string) {
	_ = atomicfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(m) })
}
