package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// repoPrefix starts the name of a model's folder in the hub cache.
const repoPrefix = "models--"

// hubCache is the directory of the Hugging Face hub cache, and what determined
// it.
func hubCache() (dir, from string, err error) {
	for _, v := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := os.Getenv(v); dir != "" {
			return expand(dir), v, nil
		}
	}
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(expand(dir), "hub"), "HF_HOME", nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "huggingface", "hub"), "XDG_CACHE_HOME", nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", "", err
	}
	return filepath.Join(home, ".cache", "huggingface", "hub"), "the default", nil
}

// expand replaces a leading ~ as huggingface_hub does.
func expand(dir string) string {
	rest, ok := strings.CutPrefix(dir, "~/")
	if !ok {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return dir
	}
	return filepath.Join(home, rest)
}

// findCached looks a repository up in the hub cache. Where it is not there at
// all, where says what was looked for and both others are zero; a damaged entry
// is an error.
func findCached(id string) (s Source, where string, err error) {
	cache, from, err := hubCache()
	if err != nil {
		return Source{}, "no hub cache, since neither HF_HOME nor a home directory is known", nil
	}
	repo := filepath.Join(cache, repoPrefix+strings.ReplaceAll(id, "/", "--"))
	where = fmt.Sprintf("%s in the hub cache (by %s)", repo, from)
	if _, err := os.Stat(repo); errors.Is(err, fs.ErrNotExist) {
		return Source{}, where, nil
	}
	snapshot, err := snapshotOf(repo)
	if err != nil {
		return Source{}, "", fmt.Errorf("hub: find %q: %w; download it again", id, err)
	}
	if !isFile(filepath.Join(snapshot, configFile)) {
		return Source{}, "", fmt.Errorf("hub: find %q: got no %s, want it in a complete download; download it again",
			id, filepath.Join(snapshot, configFile))
	}
	return Source{Kind: Checkpoint, Name: id, Path: snapshot, FS: os.DirFS(snapshot)}, "", nil
}

// snapshotOf is the directory that refs/main points to, or the only one if
// there is no such reference (a download of a fixed revision leaves none).
func snapshotOf(repo string) (string, error) {
	snapshots := filepath.Join(repo, "snapshots")
	ref := filepath.Join(repo, "refs", "main")
	b, err := os.ReadFile(ref)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(snapshots)
		if err != nil {
			return "", err
		}
		if len(entries) != 1 {
			return "", fmt.Errorf("got no %s and %d snapshots, want one of either", ref, len(entries))
		}
		return filepath.Join(snapshots, entries[0].Name()), nil
	}
	if err != nil {
		return "", err
	}
	revision := strings.TrimSpace(string(b))
	if revision == "" || revision == "." || revision == ".." || strings.ContainsAny(revision, `/\`) {
		return "", fmt.Errorf("%s: got %.80q, want a revision", ref, revision)
	}
	dir := filepath.Join(snapshots, revision)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%s: got revision %.80q, want one under %s: %w", ref, revision, snapshots, err)
	}
	return dir, nil
}

// CacheDir is where packs of checkpoints go: asked or, where that is empty,
// sparseflow under XDG_CACHE_HOME or ~/.cache, or without a home directory
// sparseflow-<uid> under the directory for temporary files.
func CacheDir(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	// The specification has programs ignore a relative XDG_CACHE_HOME.
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sparseflow"), nil
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "sparseflow"), nil
	}
	dir, err := filepath.Abs(filepath.Join(os.TempDir(), "sparseflow-"+strconv.Itoa(os.Getuid())))
	if err != nil {
		return "", fmt.Errorf("hub: cache directory: %w; choose one by --cache-dir", err)
	}
	return dir, nil
}
