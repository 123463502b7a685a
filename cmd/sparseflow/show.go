package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/table"
)

func (a *app) showCommand() *cobra.Command {
	var f toolFlags
	cmd := &cobra.Command{
		Use:     "show MODEL",
		GroupID: groupTool,
		Short:   "Say what a model is",
		Long: `Show says what a model is: its family and sizes, the element types of its weights
by their share of the bytes, its context, its tokenizer and whether it has a chat
template. It reads headers alone, of a model that cannot be run too.`,
		Example: `  sparseflow show tiny
  sparseflow show model-Q4_K_M.gguf --json`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(_ *cobra.Command, args []string) error { return a.show(&f, args[0]) },
	}
	f.addTo(cmd, true)
	return cmd
}

// showJSON is what show --json prints.
type showJSON struct {
	Schema       int            `json:"schema"`
	Name         string         `json:"name"`
	Kind         string         `json:"kind"` // pack, checkpoint or gguf
	Path         string         `json:"path"`
	Files        []string       `json:"files"`
	Bytes        int64          `json:"bytes"` // of the files
	Architecture string         `json:"architecture"`
	Parameters   int64          `json:"parameters"`
	Active       int64          `json:"active_parameters"` // that a token is computed with; 0 of a model that cannot be run
	Types        []showTypeJSON `json:"types"`
	InPlace      bool           `json:"in_place"`
	Tokenizer    string         `json:"tokenizer"`
	ChatTemplate bool           `json:"chat_template"`
	// Profile is what the model computes, nil of one that cannot be run, and Problem
	// why it cannot.
	Profile *config.ModelProfile `json:"profile"`
	Problem string               `json:"problem,omitempty"`
}

type showTypeJSON struct {
	Type    string  `json:"type"`
	Tensors int     `json:"tensors"`
	Bytes   int64   `json:"bytes"`
	Share   float64 `json:"share"` // of the bytes of all types
}

func (a *app) show(f *toolFlags, model string) error {
	src, err := hub.FindIn(model, f.cacheDir)
	if err != nil {
		return err
	}
	facts, err := convert.ReadFacts(src)
	if err != nil {
		return err
	}
	s := showJSON{Schema: schema, Name: src.Name, Kind: string(src.Kind), Path: src.Path, Files: facts.Files, Bytes: facts.FileBytes,
		Architecture: facts.Architecture, Parameters: facts.Parameters, Active: facts.Active, InPlace: facts.InPlace, Profile: facts.Profile}
	total := int64(0)
	for _, t := range facts.Types {
		total += t.Bytes
	}
	for _, t := range facts.Types {
		s.Types = append(s.Types, showTypeJSON{t.Type, t.Tensors, t.Bytes, float64(t.Bytes) / float64(max(1, total))})
	}
	if facts.Problem != nil {
		s.Problem = facts.Problem.Error()
	}
	if s.Tokenizer, err = convert.TokenizerKind(src); err != nil {
		s.Tokenizer = "unreadable"
	}
	tok, noTok := sparseflow.LoadTokenizer(model, sparseflow.WithCacheDir(f.cacheDir))
	if noTok == nil {
		_, s.ChatTemplate = tok.ChatTemplate("")
		s.Tokenizer = fmt.Sprintf("%s, %s", s.Tokenizer, table.Count(tok.VocabSize(), "token"))
	} else if s.Tokenizer != "" && errors.Is(noTok, sparseflow.ErrNoTokenizer) {
		s.Tokenizer += ", which cannot be used: token ids alone will do"
	}
	if f.json {
		return a.printJSON(s)
	}
	a.printFacts(s)
	return nil
}

func (a *app) printFacts(s showJSON) {
	t := table.Table{}
	add := func(name, format string, args ...any) { t.Add(name, fmt.Sprintf(format, args...)) }
	add("name", "%s", plain(s.Name))
	add("family", "%s", plain(s.Architecture))
	files := s.Path
	if n := len(s.Files); n > 1 {
		files += fmt.Sprintf(" (%d files)", n)
	}
	add(s.Kind, "%s, %s", config.FormatSize(s.Bytes), plain(files))
	active := ""
	if s.Active > 0 && s.Active < s.Parameters {
		active = fmt.Sprintf(", %s M of them for each token", figures(float64(s.Active)/1e6))
	}
	add("parameters", "%s M%s", figures(float64(s.Parameters)/1e6), active)
	if p := s.Profile; p != nil {
		layers := fmt.Sprintf("%d of width %d, %d heads of %d (%d for keys and values)", p.Layers, p.HiddenSize, p.Heads, p.HeadDim(), p.KVHeads)
		if n := p.Layers - routedLayers(p); n == p.Layers {
			layers += fmt.Sprintf(", MLP of %d", p.FFN)
		} else if n > 0 {
			layers += fmt.Sprintf(", MLP of %d in %d of them", p.FFN, n)
		}
		add("layers", "%s", layers)
		showExperts(add, p)
		add("vocabulary", "%d", p.VocabSize)
		add("context", "%d tokens", p.MaxPositions)
		zeros := "no zeros: all of it is computed for every token"
		switch {
		case p.Experts() > 0:
			zeros = "no zeros: an expert is computed whole"
		case p.Sparse():
			zeros = "exact zeros: neurons can be left out"
		}
		add("activation", "%s, %s", p.Activation, zeros)
	}
	for i, x := range s.Types {
		name := ""
		if i == 0 {
			name = "types"
		}
		add(name, "%5.1f %%  %s, %s in %s", 100*x.Share, x.Type, config.FormatSize(x.Bytes), table.Count(x.Tensors, "tensor"))
	}
	tokenizer := s.Tokenizer
	if tokenizer == "" {
		tokenizer = "none: token ids alone will do"
	}
	add("tokenizer", "%s", plain(tokenizer))
	add("chat template", "%s", map[bool]string{true: "yes", false: "no"}[s.ChatTemplate])
	switch {
	case s.Problem != "":
		add("runs", "no: %s", plain(s.Problem))
	case s.InPlace:
		add("runs", "from where it lies")
	case s.Kind != string(hub.Pack):
		add("runs", "from a pack, which is made once in the cache directory")
	}
	t.Print(a.stdout)
}

// routedLayers is how many layers have experts.
func routedLayers(p *config.ModelProfile) (n int) {
	for i := range p.Layers {
		if p.MoE(i).Experts > 0 {
			n++
		}
	}
	return n
}

// showExperts tells of each kind of mixture of experts that layers have.
func showExperts(add func(name, format string, args ...any), p *config.ModelProfile) {
	var told []config.MoE
	for i := range p.Layers {
		m := p.MoE(i)
		if m.Experts == 0 || slices.Contains(told, m) {
			continue
		}
		told = append(told, m)
		shared := ""
		switch {
		case m.SharedGate:
			shared = fmt.Sprintf(", and a gated one of %d that all use", m.Shared)
		case m.Shared > 0:
			shared = fmt.Sprintf(", and one of %d that all use", m.Shared)
		}
		add("experts", "%d of %d neurons in %s, %d for each token%s", m.Experts, m.Width, table.Count(routedLayers(p), "layer"), m.TopK, shared)
		r, how := m.Router, ""
		if r.Groups > 1 {
			how += fmt.Sprintf(", from the best %d of %d groups", r.TopGroups, r.Groups)
		}
		if r.ScoreBias {
			how += ", biased for the choice"
		}
		if r.Normalize {
			how += ", divided by their sum"
		}
		if r.Scale > 0 {
			how += fmt.Sprintf(", times %v", r.Scale)
		}
		add("router", "%s%s", map[config.RouterKind]string{
			config.RouterSoftmax:       "softmax",
			config.RouterSoftmaxChosen: "softmax of those chosen",
			config.RouterSigmoid:       "sigmoid",
		}[r.Kind], how)
	}
}
