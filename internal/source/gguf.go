package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// OpenGGUF opens a GGUF file below fsys, or a model that is split into several
// by the name of any of them, as Open opens a directory. Tensors keep their
// types; of one that package tensor lacks [Tensor.Err] tells.
func OpenGGUF(fsys fs.FS, name, file string) (*Checkpoint, error) {
	d := directory{fsys: fsys, name: name}
	c := &Checkpoint{tensors: make(map[string]*Tensor)}
	if err := c.openGGUF(d, file); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	slices.Sort(c.files)
	return c, nil
}

func (c *Checkpoint) openGGUF(d directory, file string) error {
	named, err := c.readGGUF(d, file)
	if err != nil {
		return err
	}
	s, err := splitOf(named)
	if err != nil {
		return fmt.Errorf("source: read %s: %w", d.path(file), err)
	}
	if s.count <= 1 {
		c.metadata = named.Metadata
		return nil
	}
	parts := Parts(file)
	if len(parts) != s.count {
		return fmt.Errorf("source: open %s: got one of %d parts by that name, want NAME-%05d-of-%05d.gguf and the others beside it", d.path(file), s.count, s.no+1, s.count)
	}
	for no, part := range parts {
		h := named
		if part != file {
			if h, err = c.readGGUF(d, part); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("source: open %s: got no such part of a model of %d, want all of them: download it", d.path(part), s.count)
			} else if err != nil {
				return err
			}
		}
		if no == 0 {
			c.metadata = h.Metadata
		}
		got, err := splitOf(h)
		if err == nil && (got.no != no || got.count != s.count) {
			err = fmt.Errorf("got part %d of %d by its metadata, want part %d of %d as its name says", got.no+1, got.count, no+1, s.count)
		}
		if err != nil {
			return fmt.Errorf("source: read %s: %w", d.path(part), err)
		}
	}
	if s.tensors != 0 && s.tensors != len(c.tensors) {
		return fmt.Errorf("source: read %s: got %d tensors in all %d parts, want %d: is one from another model?", d.path(file), len(c.tensors), s.count, s.tensors)
	}
	return nil
}

// ofVocabulary reports whether a key's array is as long as the vocabulary.
func ofVocabulary(key string) bool { return strings.HasPrefix(key, "tokenizer.ggml.") }

// GGUFMetadata reads all of a GGUF file's metadata.
func GGUFMetadata(fsys fs.FS, name, file string) (map[string]any, error) {
	d := directory{fsys: fsys, name: name}
	var c Checkpoint
	r, info, err := c.openFile(d, file)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	h, err := gguf.ReadHeader(io.NewSectionReader(r, 0, info.Size()), info.Size())
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, fmt.Errorf("source: read %s: %w", d.path(file), err)
	}
	return h.Metadata, nil
}

// Metadata are those of a GGUF model but for what is as long as its vocabulary, see
// GGUFMetadata; nil of others. They are not to be changed.
func (c *Checkpoint) Metadata() map[string]any { return c.metadata }

// readGGUF opens one file, which c then owns, and adds its tensors.
func (c *Checkpoint) readGGUF(d directory, file string) (*gguf.Header, error) {
	r, info, err := c.openFile(d, file)
	if err != nil {
		return nil, err
	}
	h, err := gguf.ReadHeaderWithout(io.NewSectionReader(r, 0, info.Size()), info.Size(), ofVocabulary)
	if err != nil {
		return nil, fmt.Errorf("source: read %s: %w", d.path(file), err)
	}
	c.weights = append(c.weights, WeightFile{r, file, info, min(h.Data, info.Size())})
	for _, x := range h.Tensors {
		if _, again := c.tensors[x.Name]; again {
			return nil, fmt.Errorf("source: read %s: got tensor %.80q again, which another part has", d.path(file), x.Name)
		}
		t := &Tensor{Name: x.Name, Stored: x.Type.String(), Shape: x.Shape, file: d.path(file), in: file, r: r, off: x.Offset, sizeBytes: x.Bytes}
		var known bool
		if t.DType, known = tensor.FromGGML(uint32(x.Type)); !known {
			t.err = fmt.Errorf("got element type %s, which is not read", t.Stored)
		}
		c.tensors[x.Name] = t
	}
	return h, nil
}

// A split is what a file says of the parts that a model is in.
type split struct {
	no, count int // 0 of 0: all of it
	tensors   int // of all parts, 0: not said
}

func splitOf(h *gguf.Header) (s split, err error) {
	for key, to := range map[string]*int{"split.no": &s.no, "split.count": &s.count, "split.tensors.count": &s.tensors} {
		v, ok := h.Metadata[key]
		if !ok {
			continue
		}
		switch n := reflect.ValueOf(v); {
		case n.CanInt() && n.Int() >= 0 && n.Int() < 1<<31:
			*to = int(n.Int())
		case n.CanUint() && n.Uint() < 1<<31:
			*to = int(n.Uint())
		default:
			return s, fmt.Errorf("metadata %q: got %.80v, want a number of parts", key, v)
		}
	}
	return s, nil
}

var partName = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})(?i:\.gguf)$`)

// Parts lists the files of a GGUF model by the name of one of them, which is the
// only one unless it is called NAME-00001-of-00002.gguf.
func Parts(file string) []string {
	m := partName.FindStringSubmatch(file)
	if m == nil {
		return []string{file}
	}
	count, err := strconv.Atoi(m[3])
	no, err2 := strconv.Atoi(m[2])
	if err != nil || err2 != nil || no < 1 || no > count {
		return []string{file}
	}
	parts := make([]string, count)
	for i := range parts {
		parts[i] = fmt.Sprintf("%s-%05d-of-%s%s", m[1], i+1, m[3], path.Ext(file))
	}
	return parts
}
