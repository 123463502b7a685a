package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

// An opened model is one that is no pack and whose every tensor was found.
type opened struct {
	src     hub.Source
	fsys    fs.FS
	name    string // path for errors
	config  []byte // config.json, nil of GGUF
	profile config.ModelProfile
	ckpt    *source.Checkpoint
	tensors *arch.Mapping
	notices []string // what a person may want to know
}

// checkpointAt is the checkpoint at the root of src as a source.
func checkpointAt(src fs.FS, srcName string) hub.Source {
	return hub.Source{Kind: hub.Checkpoint, Path: srcName, FS: src}
}

func openSource(src hub.Source) (*opened, error) {
	s := &opened{src: src, fsys: src.FS, name: src.Path}
	if err := s.readProfile(); err != nil {
		return nil, s.closed(err)
	}
	s.notices = append(s.notices, s.tensors.Notices...)
	return s, nil
}

// closed is err, after what there is of the model was closed.
func (s *opened) closed(err error) error {
	if s.ckpt == nil {
		return err
	}
	return errors.Join(err, s.ckpt.Close())
}

// readProfile opens the weights and finds out what the model is.
func (s *opened) readProfile() (err error) {
	if s.src.Kind != hub.GGUF { // first, since it says whether it can be run at all
		if s.config, err = readSmall(s.fsys, s.name, configFile, maxConfigBytes); err != nil {
			return err
		}
		generation := s.readOptional(generationFile, maxConfigBytes)
		if s.profile, s.notices, err = arch.ReadTransformers(s.config, generation); err != nil {
			return fmt.Errorf("convert: read %s: %w", path.Join(s.name, configFile), err)
		}
	}
	if s.ckpt, err = s.src.Weights(); err != nil {
		return err
	}
	if s.src.Kind == hub.GGUF {
		if s.profile, err = arch.ReadGGUF(s.ckpt); err != nil {
			return fmt.Errorf("convert: read %s: %w", s.name, err)
		}
	}
	if s.tensors, err = arch.Map(s.ckpt, s.profile, s.name); err != nil {
		return err
	}
	for _, l := range s.tensors.Layers { // neurons are columns of it, which blocks would cut
		if d := l.Down.DType; d.Quantised() {
			return fmt.Errorf("convert: read %s: tensor %q: got neurons' last parts in blocks of %v, which cannot be taken apart, want F32, F16 or BF16", s.name, l.Down.Name, d)
		}
	}
	return nil
}

// readOptional reads a file that a model can do without: nil if it is not there
// or, which is noted, cannot be read.
func (s *opened) readOptional(name string, limit int64) []byte {
	b, err := readSmall(s.fsys, s.name, name, limit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.notices = append(s.notices, fmt.Sprintf("%s is left out: %v", name, err))
	}
	return b
}

// tokenizer reads the tokenizer's files, by name.
func (s *opened) tokenizer() map[string][]byte {
	files := make(map[string][]byte)
	if s.src.Kind == hub.GGUF {
		b, err := s.tokenizerGGUF()
		if err != nil {
			s.notices = append(s.notices, fmt.Sprintf("the tokenizer is left out: %v", err))
		} else if b != nil {
			files[pack.TokenizerGGUF] = b
		}
		return files
	}
	for _, name := range pack.TokenizerFiles() {
		if b := s.readOptional(name, maxTokenizerBytes); len(b) > 0 {
			files[name] = b
		}
	}
	return files
}

// tokenizerGGUF is the metadata of a GGUF model's tokenizer as a file, nil where it
// has none.
func (s *opened) tokenizerGGUF() ([]byte, error) {
	metadata, err := s.src.Metadata()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(metadata, func(key string, _ any) bool { return !strings.HasPrefix(key, "tokenizer.") })
	if len(metadata) == 0 {
		return nil, nil
	}
	h := gguf.Header{Metadata: metadata}
	return h.Encode()
}

// openInPlace makes a pack of the model's files as they are, which then owns s. It
// is nil of a model that has to be packed: one whose neurons can be left out, and
// lie apart; one that is in no files; or one with tensors that do not lie row after
// row.
func (s *opened) openInPlace() (*pack.Pack, error) {
	in := pack.InPlace{
		Profile: s.profile, Name: s.src.Name, Path: s.src.Path, Dir: s.src.Path, Checkpoint: s.ckpt, Config: s.config,
		Experts: s.tensors.Experts,
	}
	if s.src.Kind == hub.GGUF {
		in.Dir = s.src.Dir
	}
	if s.profile.Sparse() || !filepath.IsAbs(in.Dir) {
		return nil, nil
	}
	shapes := s.profile.SharedTensors()
	for i := range s.profile.Layers {
		shapes = append(shapes, s.profile.LayerTensors(i)...)
	}
	for _, t := range shapes {
		in.Tensors = append(in.Tensors, pack.Placed{Name: t.Name, Vector: t.Vector, Tensor: s.tensors.Resident[t.Name]})
	}
	for _, name := range pack.TokenizerFiles() {
		if info, err := fs.Stat(s.fsys, name); err == nil {
			in.TokenizerBytes += info.Size()
		}
	}
	if s.src.Kind == hub.GGUF {
		for _, f := range s.ckpt.WeightFiles() {
			in.TokenizerBytes += f.HeaderBytes
		}
	}
	p, err := in.Open()
	if errors.Is(err, pack.ErrNotInPlace) {
		return nil, nil
	}
	return p, err
}
