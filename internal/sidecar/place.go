package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/source"
)

// suffix follows the pack's name, or the checkpoint's hash.
const suffix = ".side"

// PathFor is where what is learned about a pack is to be written: beside it, at
// its path with ".side" added, if that directory can be written to; else in
// cacheDir, which is made if need be, under the checkpoint's hash.
func PathFor(packPath, cacheDir, sourceSHA256 string) (path string, err error) {
	if err := source.CheckHash(sourceSHA256); err != nil {
		return "", fmt.Errorf("sidecar: place: %w", err)
	}
	dir := filepath.Dir(packPath)
	if writable(dir) {
		return packPath + suffix, nil
	}
	if cacheDir == "" {
		return "", fmt.Errorf("sidecar: place: got %s, which cannot be written to, and no cache directory, want either; choose one by --cache-dir", dir)
	}
	if err := os.MkdirAll(cacheDir, 0o777); err != nil {
		return "", fmt.Errorf("sidecar: place: got %s, which cannot be written to, and no cache directory: %w; choose one by --cache-dir", dir, err)
	}
	if !writable(cacheDir) {
		return "", fmt.Errorf("sidecar: place: got %s and %s, want either to be writable; choose a cache directory by --cache-dir", dir, cacheDir)
	}
	return cachePath(cacheDir, sourceSHA256), nil
}

// Lookup reads what is known about a pack of the checkpoint with the given
// SHA-256. A sidecar beside the pack may have come with it, to a directory that
// cannot be written to, and what was learned since lie in cacheDir: of two files
// the sections of both are returned, and of a section in both the one from where
// [PathFor] writes now. If there is neither file, the error is fs.ErrNotExist; a
// file of other weights is an error ([MismatchError]) if there is no right one.
func Lookup(packPath, cacheDir, sourceSHA256 string) (*Sidecar, error) {
	if err := source.CheckHash(sourceSHA256); err != nil {
		return nil, fmt.Errorf("sidecar: look up: %w", err)
	}
	places := []string{packPath + suffix}
	if cacheDir != "" {
		places = append(places, cachePath(cacheDir, sourceSHA256))
		if !writable(filepath.Dir(packPath)) {
			places[0], places[1] = places[1], places[0]
		}
	}
	return lookup(places, sourceSHA256)
}

// lookup merges the sidecars at places, the first of which counts most.
func lookup(places []string, sourceSHA256 string) (*Sidecar, error) {
	var found *Sidecar
	var other *MismatchError
	for _, path := range places {
		s, err := Open(path, sourceSHA256)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.As(err, &other):
		case err != nil:
			return nil, err
		case found == nil:
			found = s
		default:
			found = found.over(s)
		}
	}
	switch {
	case found != nil:
		return found, nil
	case other != nil:
		return nil, other
	}
	return nil, fmt.Errorf("sidecar: look up: got no file, want one of %q: %w", places, fs.ErrNotExist)
}

// cachePath is of the checkpoint rather than of the pack's path, so that a pack
// that moves, or is made anew, finds what is known.
func cachePath(cacheDir, sourceSHA256 string) string {
	return filepath.Join(cacheDir, sourceSHA256+suffix)
}
