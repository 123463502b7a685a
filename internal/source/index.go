package source

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// maxIndexBytes bounds an index; the largest published ones are near 10 MB.
const maxIndexBytes = 100_000_000

// A weightMap says which file holds each tensor.
type weightMap map[string]string

// tensors lists the tensor names, sorted, so that errors do not vary.
func (m weightMap) tensors() []string { return slices.Sorted(maps.Keys(m)) }

// shards lists the files, sorted, each once.
func (m weightMap) shards() []string {
	return slices.Compact(slices.Sorted(maps.Values(m)))
}

func (c *Checkpoint) readIndex(d directory, file string) (weightMap, error) {
	r, size, err := c.openFile(d, file)
	if err != nil {
		return nil, err
	}
	m, err := parseIndex(r, size)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", d.path(file), err)
	}
	return m, nil
}

// parseIndex reads an index: {"metadata": ..., "weight_map": {tensor: file}}.
// Metadata (total_size) is not needed and often wrong, so any is taken.
func parseIndex(r io.ReaderAt, size int64) (weightMap, error) {
	if size > maxIndexBytes {
		return nil, fmt.Errorf("got an index of %d bytes, want at most %d", size, maxIndexBytes)
	}
	m := make(weightMap)
	j := newJSONReader(io.NewSectionReader(r, 0, size))
	err := j.object("index", func(key string) error {
		if key != "weight_map" {
			return j.skip(key)
		}
		return j.object("weight_map", func(tensor string) error {
			file, err := j.str(fmt.Sprintf("weight_map: tensor %.200q", tensor))
			if err != nil {
				return err
			}
			if !localPath(file) {
				return fmt.Errorf("weight_map: tensor %.200q: got file %.200q, want a relative path inside the directory",
					tensor, file)
			}
			m[tensor] = file
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("got no tensors, want a weight_map from tensors to files")
	}
	return m, j.end()
}

// localPath reports whether an index may name file: a path that stays inside
// the directory on every system. fs.ValidPath alone lets through what only
// Windows takes for a separator or a drive.
func localPath(file string) bool {
	return fs.ValidPath(file) && file != "." && !strings.ContainsAny(file, "\\:\x00")
}
