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
	"strings"
	"syscall"

	"github.com/sparseflow/sparseflow/internal/suggest"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// Kind is the form that a model is stored in.
type Kind string

// The forms of a model.
const (
	Pack       Kind = "pack"       // a .sflow file
	Checkpoint Kind = "checkpoint" // a Hugging Face directory
	GGUF       Kind = "gguf"       // a GGUF file, or one that is split
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
	Dir  string // of a GGUF model: the directory, to which File is relative
	File string // of a GGUF model: the file, or the first of its parts
}

// Find is FindIn with the cache directory of CacheDir.
func Find(model string) (Source, error) { return FindIn(model, "") }

// FindIn resolves what a user calls a model: "tiny", the path of a GGUF file, of a
// pack, or of a directory with a checkpoint or one GGUF model in it, org/name or
// org/name:QUANT from the Hugging Face hub cache, or another name that List shows
// for cacheDir. A path that exists wins over the hub cache; "./tiny" is a path.
func FindIn(model, cacheDir string) (Source, error) {
	if model == Tiny {
		return Source{Kind: Checkpoint, Name: Tiny, Path: Tiny, FS: tiny.Files}, nil
	}
	if model == "" {
		return Source{}, errors.New("hub: find: got an empty model name, want tiny, a .gguf file, a directory, a .sflow file or org/name")
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
		s, err := findInDirectory(path, filepath.Base(path), "")
		if err != nil {
			return Source{}, fmt.Errorf("hub: find %q: %w", model, err)
		}
		if s.FS != nil {
			return s, nil
		}
		looked = append(looked, filepath.Join(path, configFile), filepath.Join(path, "*.gguf"))
	case err == nil:
		return Source{}, fmt.Errorf("hub: find %q: got %v, want a directory or a regular file", model, info.Mode().Type())
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return Source{}, fmt.Errorf("hub: find %q: %w", model, err)
	default:
		if to, err := os.Readlink(path); err == nil {
			return Source{}, fmt.Errorf("hub: find %q: got a link to %s, which is not there, want a directory or a regular file", model, to)
		}
		looked = append(looked, "a directory or file "+path)
	}
	if id, quant, _ := strings.Cut(model, ":"); IsRepoID(id) {
		s, where, err := findCached(id, quant)
		if err != nil || s.FS != nil {
			return s, err
		}
		looked = append(looked, where)
	}
	s, others, err := findListed(model, cacheDir)
	if err != nil || s.Path != "" {
		return s, err
	}
	return Source{}, fmt.Errorf("hub: find %q: got no such model, want tiny, a .gguf file, a directory with config.json, a .sflow file or org/name from the hub cache; looked for %s%s",
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
	// A repository without an organisation.
	id, quant, _ := strings.Cut(model, ":")
	s, _, err = findCached(id, quant)
	return s, nil, err
}

// findInDirectory is the checkpoint in a directory or, with quant or where there are
// no weights beside config.json, its GGUF model. It is zero where there is neither.
func findInDirectory(dir, name, quant string) (Source, error) {
	models := ggufModels(os.DirFS(dir))
	hasConfig := isFile(filepath.Join(dir, configFile))
	if quant == "" && hasConfig && (len(models) == 0 || hasWeights(dir)) {
		if name := danglingWeights(dir); name != "" {
			return Source{}, fmt.Errorf("%s: got a link to a file that is not there, want weights", name)
		}
		return Source{Kind: Checkpoint, Name: name, Path: dir, FS: os.DirFS(dir)}, nil
	}
	found := models
	if quant != "" {
		found = matchQuant(models, quant)
	}
	switch {
	case len(found) == 0 && quant != "" && len(models) > 0:
		return Source{}, fmt.Errorf("got no GGUF file of %s in %s, want one of those that are there: %s", quant, dir, labels(models))
	case len(found) == 0:
		return Source{}, nil
	case len(found) > 1 && quant == "":
		return Source{}, fmt.Errorf("got %d GGUF models in %s, want one: name its file, or org/name:QUANT, of %s", len(found), dir, labels(found))
	case len(found) > 1:
		return Source{}, fmt.Errorf("got %d GGUF models of %s in %s, want one: name its file", len(found), quant, dir)
	case found[0].missing != "":
		return Source{}, fmt.Errorf("%s: got no such part, want all of %s", filepath.Join(dir, filepath.FromSlash(found[0].missing)), found[0].file)
	}
	return ggufSource(dir, found[0].file, name), nil
}

// suggestion is what a user may have meant by the name of a model that is not
// here, and the command that gets it.
func suggestion(model string, here []string) string {
	near := slices.Clone(here)
	dir, _ := filepath.Split(model)
	entries, _ := os.ReadDir(cmp.Or(dir, "."))
	for _, e := range entries {
		if path := dir + e.Name(); slices.Contains([]string{".sflow", ".gguf"}, filepath.Ext(path)) || isFile(filepath.Join(path, configFile)) {
			near = append(near, path)
		}
	}
	id, quant, _ := strings.Cut(model, ":")
	if quant != "" { // which is alike in many that are not meant
		for i, name := range near {
			near[i] = strings.TrimSuffix(name, ":"+quant)
		}
	}
	if name, ok := suggest.Match(id, near); ok {
		if quant != "" && name != id {
			name += ":" + quant
		}
		return fmt.Sprintf("; did you mean %s? sparseflow run %s", name, name)
	}
	if name, ok := published(model); ok {
		return fmt.Sprintf("; did you mean %s? to get it: %s", name, Download(name))
	}
	if IsRepoID(id) {
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
	if isGGUF(path) || strings.EqualFold(filepath.Ext(path), ".gguf") {
		return findGGUF(path), nil
	}
	hint := ""
	if isFile(filepath.Join(filepath.Dir(path), configFile)) {
		hint = "; name its directory " + filepath.Dir(path) + " instead"
	}
	return Source{}, fmt.Errorf("hub: find %s: got a file that is neither a pack nor GGUF, want a .gguf or .sflow file or a checkpoint's directory%s", path, hint)
}

// IsRepoID reports whether s can be the name of a repository on the hub.
func IsRepoID(s string) bool {
	ok, err := regexp.MatchString(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`, s)
	return ok && err == nil && !strings.Contains(s, "--") && !strings.Contains(s, "..")
}
