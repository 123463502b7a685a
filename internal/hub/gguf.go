package hub

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

// A ggufModel is one GGUF model of a directory, which may be in several files.
type ggufModel struct {
	file    string // the first part, below the directory
	label   string // what tells it from others: its quantisation or, without one, its name
	bytes   int64
	missing string // a part that is not there, "": none
}

// ggufModels lists the GGUF models of a directory and of the folders in it, in
// which some repositories have one quantisation each. What goes with a model and
// is none is left out: eyes and ears, and matrices that quantisers use.
func ggufModels(fsys fs.FS) []ggufModel {
	var files []string
	for _, pattern := range []string{"*", "*/*"} {
		found, _ := fs.Glob(fsys, pattern) // the pattern is good
		files = append(files, found...)
	}
	models := groupGGUF(files)
	for i := range models {
		m := &models[i]
		for _, p := range source.Parts(m.file) {
			info, err := fs.Stat(fsys, p)
			if err != nil {
				m.missing = p
				continue
			}
			m.bytes += info.Size()
		}
	}
	return models
}

// groupGGUF is the models that files are, each by the first of its parts.
func groupGGUF(files []string) (models []ggufModel) {
	for _, file := range files {
		name := strings.ToLower(path.Base(file))
		parts := source.Parts(file)
		first := slices.IndexFunc(parts, func(p string) bool { return slices.Contains(files, p) })
		if path.Ext(name) != ".gguf" || strings.HasPrefix(name, "mmproj") || strings.Contains(name, "imatrix") || parts[first] != file {
			continue
		}
		models = append(models, ggufModel{file: file, label: quantOf(file)})
	}
	return models
}

// ChooseGGUF lists those of a repository's files that are the GGUF model of a
// quantisation, or the only one without.
func ChooseGGUF(files []string, id, quant string) ([]string, error) {
	models := groupGGUF(files)
	found := models
	if quant != "" {
		found = matchQuant(models, quant)
	}
	switch {
	case len(models) == 0:
		return nil, fmt.Errorf("got no weights in %s that are read, want model.safetensors, pytorch_model.bin or GGUF files", id)
	case len(found) == 0:
		return nil, fmt.Errorf("got no GGUF file of %s in %s, want one of %s", quant, id, labels(models))
	case len(found) > 1:
		return nil, fmt.Errorf("got %d GGUF models in %s, want one: name it as %s:%s, of %s", len(found), id, id, found[0].label, labels(found))
	}
	return source.Parts(found[0].file), nil
}

var (
	partSuffix  = regexp.MustCompile(`-\d{5}-of-\d{5}$`)
	quantSuffix = regexp.MustCompile(`(?i)(?:^|[-._])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|BF16|F16|F32|FP16|FP32|MXFP4\w*))$`)
)

// stemOf is a GGUF model's name as its file has it.
func stemOf(file string) string {
	base := path.Base(file)
	return partSuffix.ReplaceAllString(strings.TrimSuffix(base, path.Ext(base)), "")
}

// quantOf is the quantisation that a file's name ends with, as model names are
// written by custom, or the whole name.
func quantOf(file string) string {
	stem := stemOf(file)
	if m := quantSuffix.FindStringSubmatch(stem); m != nil {
		return strings.ToUpper(m[1])
	}
	return stem
}

// matchQuant lists those of the models that a user means by a quantisation, or by
// a file's name.
func matchQuant(models []ggufModel, quant string) (found []ggufModel) {
	for _, m := range models {
		if strings.EqualFold(m.label, quant) || strings.EqualFold(stemOf(m.file), quant) || m.file == quant || path.Base(m.file) == quant {
			found = append(found, m)
		}
	}
	if len(found) == 0 { // Q4_K_XL for UD-Q4_K_XL
		for _, m := range models {
			if strings.EqualFold(strings.TrimPrefix(m.label, "UD-"), quant) {
				found = append(found, m)
			}
		}
	}
	return found
}

// labels lists what the models are told apart by.
func labels(models []ggufModel) string {
	var all []string
	for _, m := range models {
		all = append(all, m.label)
	}
	return strings.Join(all, ", ")
}

// findGGUF is the GGUF model at path, whichever of its parts that is.
func findGGUF(file string) Source {
	dir, base := filepath.Split(file)
	if parts := source.Parts(base); isFile(filepath.Join(dir, parts[0])) {
		base = parts[0]
	}
	return ggufSource(dir, base, stemOf(base))
}

func ggufSource(dir, file, name string) Source {
	dir = filepath.Clean(dir)
	return Source{Kind: GGUF, Name: name, Path: filepath.Join(dir, filepath.FromSlash(file)), Dir: dir, File: file, FS: os.DirFS(dir)}
}

// isGGUF reports whether a file says that it is one.
func isGGUF(path string) bool {
	f, _, err := source.OpenRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = f.ReadAt(magic[:], 0)
	return err == nil && string(magic[:]) == "GGUF"
}

// architecture is what a GGUF file calls its model, "" where that cannot be read.
func architecture(fsys fs.FS, file string) string {
	f, err := fsys.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	name, _ := gguf.Architecture(f, info.Size())
	return name
}

// Metadata are all of a GGUF model's metadata, nil of others.
func (s Source) Metadata() (map[string]any, error) {
	if s.Kind != GGUF {
		return nil, nil
	}
	return source.GGUFMetadata(s.FS, s.Dir, s.File)
}

// Weights opens a model's weights. Those of a pack are not opened so.
func (s Source) Weights() (*source.Checkpoint, error) {
	switch s.Kind {
	case GGUF:
		return source.OpenGGUF(s.FS, s.Dir, s.File)
	case Checkpoint:
		return source.Open(s.FS, s.Path)
	}
	return nil, fmt.Errorf("hub: open %s: got a pack, want a checkpoint", s.Path)
}
