package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/sparseflow/sparseflow/internal/source"
)

// The files of a checkpoint besides weights and tokenizer. The first one is what
// makes a directory a checkpoint.
const (
	configFile     = "config.json"
	generationFile = "generation_config.json"
)

// maxConfigBytes and maxTokenizerBytes bound what is read whole.
const (
	maxConfigBytes    = 1 << 20
	maxTokenizerBytes = 64 << 20
)

// SourceHash identifies a checkpoint: the SHA-256, in hexadecimal, over
// config.json and the weight files in the order of their names, each as its
// name, a zero byte, its size in decimal, a zero byte and its contents. srcName
// is the checkpoint's path for errors.
func SourceHash(ctx context.Context, src fs.FS, srcName string) (string, error) {
	c, err := source.Open(src, srcName)
	if err != nil {
		return "", err
	}
	hash, err := (&opened{fsys: src, name: srcName, ckpt: c, config: []byte{}}).hash(ctx)
	return hash, errors.Join(err, c.Close())
}

// files lists the files that make up a model, sorted.
func (s *opened) files() []string {
	files := s.ckpt.Files()
	if s.config != nil {
		files = append(files, configFile)
	}
	slices.Sort(files)
	return files
}

// hash is SourceHash.
func (s *opened) hash(ctx context.Context) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for _, name := range s.files() {
		if err := hashFile(ctx, h, s.fsys, name, buf); err != nil {
			return "", fmt.Errorf("convert: hash %s: %w", path.Join(s.name, name), err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(ctx context.Context, h hash.Hash, src fs.FS, name string, buf []byte) error {
	f, err := src.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s\x00%d\x00", name, info.Size())
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if total != info.Size() {
		return fmt.Errorf("got %d bytes, want %d: the file changed while it was read", total, info.Size())
	}
	return nil
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(src fs.FS, srcName, name string, limit int64) ([]byte, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, fmt.Errorf("convert: read %s: %w", path.Join(srcName, name), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("convert: read %s: %w", path.Join(srcName, name), err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("convert: read %s: got over %d bytes, want at most that", path.Join(srcName, name), limit)
	}
	return b, nil
}
