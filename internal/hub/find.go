package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/suggest"
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

// Find is FindIn with the cache directory of CacheDir.
func Find(model string) (Source, error) { return FindIn(model, "") }

// FindIn resolves what a user calls a model: "tiny", the path of a checkpoint
// directory or of a pack, org/name from the Hugging Face hub cache, or another
// name that List shows for cacheDir. A path that exists wins over the hub
// cache; "./tiny" is a path.
func FindIn(model, cacheDir string) (Source, error) {
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
			if name := danglingWeights(path); name != "" {
				return Source{}, fmt.Errorf("hub: find %q: %s: got a link to a file that is not there, want weights", model, name)
			}
			return Source{Kind: Checkpoint, Name: filepath.Base(path), Path: path, FS: os.DirFS(path)}, nil
		}
		looked = append(looked, filepath.Join(path, configFile))
	case err == nil:
		return Source{}, fmt.Errorf("hub: find %q: got %v, want a directory or a regular file", model, info.Mode().Type())
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return Source{}, fmt.Errorf("hub: find %q: %w", model, err)
	default:
		if to, err := os.Readlink(path); err == nil {
			return Source{}, fmt.Errorf("hub: find %q: got a link to %s, which is not there, want a directory or a regular file", model, to)
		}
		looked = append(looked, "a directory or pack "+path)
	}
	if isRepoID(model) {
		s, where, err := findCached(model)
		if err != nil || s.FS != nil {
			return s, err
		}
		looked = append(looked, where)
	}
	s, others, err := findListed(model, cacheDir)
	if err != nil || s.Path != "" {
		return s, err
	}
	return Source{}, fmt.Errorf("hub: find %q: got no such model, want tiny, a directory with config.json, a .sflow file or org/name from the hub cache; looked for %s%s",
		model, strings.Join(looked, ", "), suggestion(model, others))
}

// findListed is the model that List calls by that name, or the names that it
// knows.
func findListed(model, cacheDir string) (s Source, names []string, err error) {
	if cacheDir, err = CacheDir(cacheDir); err != nil {
		return Source{}, nil, err
	}
	entries, err := List(cacheDir)
	if err != nil {
		return Source{}, nil, nil // what is not there cannot be the model
	}
	var found []Entry
	for _, e := range entries {
		names = append(names, e.Name)
		if e.Path != "" && (e.Name == model || e.Kind == string(Pack) && filepath.Base(e.Path) == model) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) == 0:
		return Source{}, names, nil
	case len(found) > 1:
		return Source{}, nil, fmt.Errorf("hub: find %q: got %d models of that name, want one: name %s or %s", model, len(found), found[0].Path, found[1].Path)
	case found[0].Kind == string(Pack):
		s, err = findFile(found[0].Path)
		return s, nil, err
	}
	s, err = openCached(model, filepath.Dir(filepath.Dir(found[0].Path)))
	return s, nil, err
}

// suggestion is what a user may have meant by the name of a model that is not
// here, and the command that gets it.
func suggestion(model string, here []string) string {
	near := slices.Clone(here)
	dir, _ := filepath.Split(model)
	entries, _ := os.ReadDir(cmp.Or(dir, "."))
	for _, e := range entries {
		if path := dir + e.Name(); filepath.Ext(path) == ".sflow" || isFile(filepath.Join(path, configFile)) {
			near = append(near, path)
		}
	}
	if name, ok := suggest.Match(model, near); ok {
		return fmt.Sprintf("; did you mean %s? sparseflow run %s", name, name)
	}
	if name, ok := published(model); ok {
		return fmt.Sprintf("; did you mean %s? to get it: %s", name, Download(name))
	}
	if isRepoID(model) {
		return "; to get it from the hub: " + Download(model)
	}
	return ""
}

// published is the model on the hub that a name, with or without an
// organisation, most likely means.
func published(model string) (string, bool) {
	base := model[strings.LastIndex(model, "/")+1:]
	var sizes []string
	for _, size := range []string{"125m", "350m", "1.3b", "2.7b", "6.7b", "13b", "30b", "66b"} {
		sizes = append(sizes, "opt-"+size)
	}
	// A size that differs in a digit is another model, not a misspelling.
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, s)
	}
	sizes = slices.DeleteFunc(sizes, func(s string) bool { return digits(s) != digits(base) })
	name, ok := suggest.Match(base, sizes)
	return "facebook/" + name, ok && "facebook/"+name != model
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
	if arch, ok := ggufArchitecture(path); ok {
		return Source{}, fmt.Errorf("hub: find %s: got a GGUF file of a %s model, which SparseFlow does not read; want a checkpoint's directory or a .sflow file", path, arch)
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

// ggufArchitecture is what a GGUF file calls its model, "?" where that cannot be
// read. It reports false for other files.
func ggufArchitecture(path string) (string, bool) {
	f, size, err := source.OpenRegular(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "GGUF" {
		return "", false
	}
	if h, err := gguf.ReadHeader(f, size); err == nil {
		if name, ok := h.Metadata["general.architecture"].(string); ok {
			return strconv.QuoteToGraphic(name), true
		}
	}
	return "?", true
}
