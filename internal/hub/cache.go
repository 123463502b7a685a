package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// repoPrefix starts the name of a model's folder in the hub cache.
const repoPrefix = "models--"

// RepoDir is a repository's folder in the hub cache.
func RepoDir(id string) string { return repoPrefix + strings.ReplaceAll(id, "/", "--") }

// findCached looks a repository up in the hub caches, or what it has of a
// quantisation. Where it is in none of them, where says what was looked for and both others are zero; a damaged
// entry is an error.
func findCached(id, quant string) (s Source, where string, err error) {
	caches := hubCaches()
	if len(caches) == 0 {
		return Source{}, "no hub cache, since neither HF_HOME nor a home directory is known", nil
	}
	for _, c := range caches {
		repo := filepath.Join(c.dir, RepoDir(id))
		if _, err := os.Stat(repo); !errors.Is(err, fs.ErrNotExist) {
			s, err := openCached(id, quant, repo)
			return s, "", err
		}
		if where != "" {
			where += ", "
		}
		where += fmt.Sprintf("%s in the hub cache (by %s)", repo, c.from)
	}
	return Source{}, where, nil
}

// openCached is the model of a repository's folder.
func openCached(id, quant, repo string) (Source, error) {
	name := id
	if quant != "" {
		name += ":" + quant
	}
	again := "; download it again: " + Download(name)
	snapshot, err := snapshotOf(repo)
	if err != nil {
		return Source{}, fmt.Errorf("hub: find %q: %w%s", id, err, again)
	}
	// Blobs can be deleted below the links of a snapshot, and a download can
	// end between two files.
	s, err := findInDirectory(snapshot, name, quant)
	switch {
	case err != nil:
		return Source{}, fmt.Errorf("hub: find %q: %w%s", name, err, again)
	case s.FS == nil && quant == "":
		return Source{}, fmt.Errorf("hub: find %q: got no %s, want it in a complete download%s", name, filepath.Join(snapshot, configFile), again)
	case s.FS == nil:
		return Source{}, fmt.Errorf("hub: find %q: got no GGUF file in %s, want one of %s%s", name, snapshot, quant, again)
	}
	return s, nil
}

// hasWeights reports whether a directory has files that weights of a checkpoint lie
// in, or links that should lead to such.
func hasWeights(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		ext := filepath.Ext(e.Name())
		return ext == ".safetensors" || ext == ".bin"
	})
}

// danglingWeights is a link to weights in a checkpoint's directory that leads
// nowhere, "" where there is none or other weights are there.
func danglingWeights(dir string) (dangling string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".safetensors" && ext != ".bin" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if isFile(path) {
			return ""
		}
		dangling = path
	}
	return dangling
}

// Download is the command that gets a model from the hub.
func Download(name string) string { return "sparseflow pull " + name }

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
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() })
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
