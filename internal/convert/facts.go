package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
)

// Facts are what a model is, by its headers.
type Facts struct {
	Profile *config.ModelProfile // nil of a model that cannot be run
	Problem error                // why it cannot
	// Architecture is what its files call the family.
	Architecture string
	Files        []string
	FileBytes    int64
	// Parameters is the model's weights, or of one that cannot be run the elements of
	// its tensors, and Active those that a token is computed with.
	Parameters, Active int64
	Types              []TypeFact // the largest share first
	InPlace            bool       // it is used where it lies
}

// TypeFact is how much of a model's tensors is of an element type.
type TypeFact struct {
	Type    string
	Tensors int
	Bytes   int64
}

// ReadFacts reads what a model is. Of one that cannot be run it says why and what
// is there.
func ReadFacts(src hub.Source) (f Facts, err error) {
	if f, err = readFacts(src); f.Profile != nil {
		f.Parameters, f.Active = f.Profile.Weights()
	}
	return f, err
}

func readFacts(src hub.Source) (f Facts, err error) {
	p, s, err := openPlace(src, Options{})
	switch {
	case err == nil && p != nil:
		defer p.Close()
		profile := p.Profile()
		f.Profile, f.Architecture, f.InPlace = &profile, profile.Family, !p.Checksums()
		for _, file := range p.Files() {
			f.Files = append(f.Files, file.Path)
			f.FileBytes += file.Bytes
		}
		f.ofPack(p)
		return f, nil
	case err == nil:
		defer s.ckpt.Close()
		f.Profile, f.Architecture = &s.profile, s.profile.Family
		f.ofCheckpoint(src, s.ckpt)
		return f, nil
	case src.Kind == hub.Pack:
		return f, err
	}
	c, broken := src.Weights()
	if broken != nil {
		return f, err
	}
	defer c.Close()
	f.Problem, f.Architecture = err, architectureOf(src, c)
	f.ofCheckpoint(src, c)
	return f, nil
}

// architectureOf is what the files of a model call its family.
func architectureOf(src hub.Source, c *source.Checkpoint) string {
	if name, ok := c.Metadata()["general.architecture"].(string); ok {
		return name
	}
	var about struct {
		Type string `json:"model_type"`
	}
	raw, err := readSmall(src.FS, src.Path, configFile, maxConfigBytes)
	if err != nil || json.Unmarshal(config.FromPythonJSON(raw), &about) != nil {
		return ""
	}
	return about.Type
}

func (f *Facts) ofCheckpoint(src hub.Source, c *source.Checkpoint) {
	dir := cmp.Or(src.Dir, src.Path)
	for _, w := range c.WeightFiles() {
		f.Files = append(f.Files, path.Join(dir, w.Name))
		f.FileBytes += w.Info.Size()
	}
	types := make(map[string]*TypeFact)
	for _, name := range c.Names() {
		t, _ := c.Tensor(name)
		n := int64(1)
		for _, d := range t.Shape {
			n *= d
		}
		f.Parameters += n
		count(types, t.Stored, 1, t.Bytes())
	}
	f.sortTypes(types)
}

func (f *Facts) ofPack(p *pack.Pack) {
	types := make(map[string]*TypeFact)
	for _, t := range p.Tensors() {
		if t.Kind != pack.Matrix && t.Kind != pack.Vector {
			continue
		}
		count(types, t.Elem.String(), 1, t.Bytes())
	}
	if n := p.Bundles(); n > 0 {
		count(types, p.MLPDType().String(), p.Profile().Layers, n*p.BundleBytes())
	}
	for i := range p.Profile().Layers {
		for _, x := range p.ExpertParts(i) {
			count(types, x.DType.String(), 1, int64(p.Profile().MoE(i).Experts)*x.Bytes())
		}
	}
	f.sortTypes(types)
}

func count(types map[string]*TypeFact, name string, tensors int, bytes int64) {
	t, ok := types[name]
	if !ok {
		t = &TypeFact{Type: name}
		types[name] = t
	}
	t.Tensors += tensors
	t.Bytes += bytes
}

func (f *Facts) sortTypes(types map[string]*TypeFact) {
	for _, t := range slices.SortedFunc(maps.Values(types), func(a, b *TypeFact) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type))
	}) {
		f.Types = append(f.Types, *t)
	}
}

// TokenizerKind is what a model's files call its tokenizer, "" where it has none.
func TokenizerKind(src hub.Source) (string, error) {
	files := src.FS
	switch src.Kind {
	case hub.GGUF:
		c, err := src.Weights()
		if err != nil {
			return "", err
		}
		defer c.Close()
		kind, _ := c.Metadata()["tokenizer.ggml.model"].(string)
		if pre, ok := c.Metadata()["tokenizer.ggml.pre"].(string); ok && kind != "" {
			kind += ", " + pre
		}
		return kind, nil
	case hub.Pack:
		p, err := pack.Open(src.Path)
		if err != nil {
			return "", err
		}
		defer p.Close()
		files = p.Tokenizer()
	}
	raw, err := readSmall(files, src.Path, "tokenizer.json", maxTokenizerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range pack.TokenizerFiles() {
			if _, err := fs.Stat(files, name); err == nil {
				return "BPE", nil // of vocab.json and merges.txt
			}
		}
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var t struct {
		Model struct {
			Type string `json:"type"`
		} `json:"model"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return "", err
	}
	return cmp.Or(t.Model.Type, "BPE"), nil
}
