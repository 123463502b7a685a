package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
)

// maxIndexBytes bounds an index; the largest published ones are near 10 MB.
const maxIndexBytes = 100_000_000

// A weightMap says which file holds each tensor, as an index has it. It is what
// somebody wrote once: the shards themselves say what they hold.
type weightMap map[string]string

// shards lists the files, sorted, each once.
func (m weightMap) shards() []string {
	return slices.Compact(slices.Sorted(maps.Values(m)))
}

func (c *Checkpoint) readIndex(d directory, file string) (weightMap, error) {
	r, info, err := c.openFile(d, file)
	if err != nil {
		return nil, err
	}
	m, err := parseIndex(r, info.Size())
	if err == nil {
		err = m.locate(d.fsys)
	}
	if err != nil {
		return nil, fmt.Errorf("source: read %s: %w", d.path(file), err)
	}
	return m, nil
}

// parseIndex reads an index: {"metadata": ..., "weight_map": {tensor: file}}.
// Metadata (total_size) is not needed and often wrong, so any is taken.
func parseIndex(r io.ReaderAt, size int64) (weightMap, error) {
	if size > maxIndexBytes {
		return nil, fmt.Errorf("got an index of %d bytes, want at most %d", size, maxIndexBytes)
	}
	raw, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	m := make(weightMap)
	err = members(bytes.NewReader(config.FromPythonJSON(raw)), "index", func(key string, raw json.RawMessage) error {
		if key != "weight_map" {
			return nil
		}
		clear(m)
		return members(bytes.NewReader(raw), key, func(tensor string, raw json.RawMessage) (err error) {
			m[tensor], err = parseString(fmt.Sprintf("weight_map: tensor %.200q", tensor), raw)
			return err
		})
	})
	if err == nil && len(m) == 0 {
		err = errors.New("got no tensors, want a weight_map from tensors to files")
	}
	return m, err
}

// locate turns the paths of an index into ones inside the directory. A path of
// the machine that wrote the index stands for the file of its name here.
func (m weightMap) locate(fsys fs.FS) error {
	for tensor, file := range m {
		local := path.Clean(file)
		if !localPath(local) {
			local = path.Base(strings.ReplaceAll(file, `\`, "/"))
			if info, err := fs.Stat(fsys, local); !localPath(local) || err != nil || info.IsDir() {
				return fmt.Errorf("weight_map: tensor %.200q: got file %.200q, want a relative path inside the directory",
					tensor, file)
			}
		}
		m[tensor] = local
	}
	return nil
}

// localPath reports whether an index may name file: a path that stays inside
// the directory on every system. fs.ValidPath alone lets through what only
// Windows takes for a separator or a drive.
func localPath(file string) bool {
	return fs.ValidPath(file) && file != "." && !strings.ContainsAny(file, "\\:\x00")
}

// unindexed lists the shards of a checkpoint whose index is not there, by their
// names: model-00001-of-00002.safetensors. All of a set must be.
func unindexed(fsys fs.FS, stem, ext string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, nil // opening files will tell
	}
	name := regexp.MustCompile(`^` + stem + `-(\d+)-of-(\d+)\.` + ext + `$`)
	var files []string
	var all string
	for _, e := range entries {
		if m := name.FindStringSubmatch(e.Name()); m != nil {
			files, all = append(files, e.Name()), m[2]
		}
	}
	if n, err := strconv.Atoi(all); len(files) > 0 && (err != nil || n != len(files)) {
		return nil, fmt.Errorf("got %d shards such as %s and no index, want all %s", len(files), files[0], all)
	}
	return files, nil
}
