// Package arch knows families of models: how their files describe a model, which
// becomes a [config.ModelProfile], and how they name and shape its tensors, which
// become a [Mapping]. Nothing above it knows one family from another.
//
// A family is one file here and one line of families. What families have in
// common is config.json as transformers writes it, read by reader, and names that
// a table translates: see names.
package arch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/suggest"
)

// A family is models of one kind.
type family struct {
	name    string   // by which profiles call it: its model_type in config.json
	also    []string // further model_types that are read as it
	profile func(r *reader) config.ModelProfile
	names   func() names // of a checkpoint's tensors
	// architectures are GGUF's names for models that metadata reads, if any.
	architectures []string
	metadata      func(m *metadata) config.ModelProfile
	stems         map[string]string // that GGUF has of these models alone, see names
}

// families lists all.
func families() []family {
	return []family{
		llama(), mistral(), qwen2(), qwen3(), gemma3(), minicpm(), granite(), opt(),
		qwen2MoE(), qwen3MoE(), olmoe(), mixtral(), gptOSS(), glm4MoE(), miniMaxM2(),
	}
}

// FamilyOf is the family that a config.json's model_type belongs to, "" if to
// none that is known.
func FamilyOf(modelType string) string {
	f, err := byModelType(modelType)
	if err != nil {
		return ""
	}
	return f.name
}

// Families are the names of all.
func Families() (all []string) {
	for _, f := range families() {
		all = append(all, f.name)
	}
	return all
}

func byModelType(name string) (family, error) {
	return known("model_type", name, func(f family) []string { return append([]string{f.name}, f.also...) })
}

// known is the family that calls itself name, of those that key may give.
func known(key, name string, of func(f family) []string) (family, error) {
	var all []string
	for _, f := range families() {
		if slices.Contains(of(f), name) {
			return f, nil
		}
		all = append(all, of(f)...)
	}
	want := "want one of " + strings.Join(all, ", ")
	if name == "" {
		return family{}, fmt.Errorf("got no %s, %s", key, want)
	}
	if near, ok := suggest.Match(name, all); ok {
		want = "the nearest that is known is " + near
	}
	return family{}, fmt.Errorf("got %s %.40s, which is not supported yet; %s", key, name, want)
}
