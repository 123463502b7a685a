package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
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
	Files  []fileStamp `json:"files"`
}

// A fileStamp tells two states of a file apart without reading it.
type fileStamp struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"`
	ModTime time.Time `json:"mtime"`
}

// rememberedHash is SourceHash, by memory if the files are as they were. Files
// without modification times (embedded ones) are hashed each time. With quick
// others are not hashed at all: what is not remembered is "".
func rememberedHash(ctx context.Context, src fs.FS, srcName, cacheDir string, quick bool) (string, error) {
	files, err := sourceFiles(src, srcName)
	if err != nil {
		return "", err
	}
	now := memory{Path: srcName}
	var newest time.Time
	timed := true
	for _, name := range files {
		info, err := fs.Stat(src, name)
		if err != nil {
			return "", fmt.Errorf("convert: hash %s: %w", path.Join(srcName, name), err)
		}
		m := info.ModTime().UTC()
		timed = timed && !m.IsZero()
		if m.After(newest) {
			newest = m
		}
		now.Files = append(now.Files, fileStamp{name, info.Size(), m})
	}
	if !timed {
		return hashFiles(ctx, src, srcName, files)
	}
	key := sha256.Sum256([]byte(srcName))
	at := filepath.Join(cacheDir, "source-"+hex.EncodeToString(key[:16])+".json")
	if hash, ok := now.recall(at); ok {
		return hash, nil
	}
	if quick {
		return "", nil
	}
	began := time.Now()
	if now.SHA256, err = hashFiles(ctx, src, srcName, files); err != nil {
		return "", err
	}
	if began.Sub(newest) > settled {
		now.store(at)
	}
	return now.SHA256, nil
}

// recall is the hash remembered at path, if it is of the same files.
func (m memory) recall(path string) (hash string, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	var old memory
	if json.Unmarshal(b, &old) != nil || old.Path != m.Path || len(old.SHA256) != 2*sha256.Size {
		return "", false
	}
	same := slices.EqualFunc(old.Files, m.Files, func(a, b fileStamp) bool {
		return a.Name == b.Name && a.Bytes == b.Bytes && a.ModTime.Equal(b.ModTime)
	})
	return old.SHA256, same
}

// store writes the memory. It is a convenience: where it fails, the next start
// hashes again.
func (m memory) store(path string) {
	b, err := json.Marshal(m)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".source-*.tmp")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if f.Close() != nil || err != nil || os.Rename(f.Name(), path) != nil {
		os.Remove(f.Name())
	}
}
