package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/sparseflow/sparseflow/models/tiny"
)

// Kind is the form that a model is stored in.
type Kind string

// The forms of a model.
const (
	Pack       Kind = "pack"       // a .sflow file
	Checkpoint Kind = "checkpoint" // a Hugging Face directory
)

// Tiny is the name of the embedded model.
const Tiny = "tiny"

// configFile is what makes a directory a checkpoint.
const configFile = "config.json"

// A Source is where a model lies.
type Source struct {
	Kind Kind
	Name string // for people: "tiny", "org/name", or the last element of Path
	Path string // absolute, of the file or directory; "tiny" for the embedded model
	FS   fs.FS  // the checkpoint's directory; nil for a pack
}

// Find resolves what a user calls a model: "tiny", the path of a checkpoint
// directory or of a pack, or org/name from the Hugging Face hub cache. A path
// that exists wins over the hub cache; "./tiny" is a path.
func Find(model string) (Source, error) {
	if model == Tiny {
		return Source{Kind: Checkpoint, Name: Tiny, Path: Tiny, FS: tiny.Files}, nil
	}
	if model == "" {
		return Source{}, errors.New("hub: find: got an empty model name, want tiny, a directory, a .sflow file or org/name")
	}
	path, err := filepath.Abs(model)
	if err != nil {
		return Source{}, fmt.Errorf("hub: find %q: %w", model, err)
	}
	looked := []string{"the embedded model tiny"}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Mode().IsRegular():
		return findFile(path)
	case err == nil && info.IsDir():
		if isFile(filepath.Join(path, configFile)) {
			return Source{Kind: Checkpoint, Name: filepath.Base(path), Path: path, FS: os.DirFS(path)}, nil
		}
		looked = append(looked, filepath.Join(path, configFile))
	case err == nil:
		return Source{}, fmt.Errorf("hub: find %q: got %v, want a directory or a regular file", model, info.Mode().Type())
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return Source{}, fmt.Errorf("hub: find %q: %w", model, err)
	default:
		looked = append(looked, "a directory or pack "+path)
	}
	if isRepoID(model) {
		s, where, err := findCached(model)
		if err != nil || s.FS != nil {
			return s, err
		}
		looked = append(looked, where)
	}
	return Source{}, fmt.Errorf("hub: find %q: got no such model, want tiny, a directory with config.json, a .sflow file or org/name from the hub cache; looked for %s",
		model, strings.Join(looked, ", "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// findFile takes a pack by its metadata, or by its name so that opening it can
// say what is wrong with it.
func findFile(path string) (Source, error) {
	base := filepath.Base(path)
	if m, err := packMetadata(path); err == nil || strings.EqualFold(filepath.Ext(path), ".sflow") {
		name := m.name
		if name == "" {
			name = strings.TrimSuffix(base, filepath.Ext(base))
		}
		return Source{Kind: Pack, Name: name, Path: path}, nil
	}
	hint := ""
	if isFile(filepath.Join(filepath.Dir(path), configFile)) {
		hint = "; name its directory " + filepath.Dir(path) + " instead"
	}
	return Source{}, fmt.Errorf("hub: find %s: got a file that is no pack, want a .sflow file or a checkpoint's directory%s", path, hint)
}

// isRepoID reports whether s can be the name of a repository on the hub.
func isRepoID(s string) bool {
	ok, err := regexp.MatchString(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`, s)
	return ok && err == nil && !strings.Contains(s, "--") && !strings.Contains(s, "..")
}
