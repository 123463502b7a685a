package main

import (
	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// What run takes for flags that are left out, and plan with it: the two place a
// model in the same way. Defaults that do not depend on the request are those of
// sparseflow.DefaultStrategy.

// tinyShare is the budget of tiny where none is given: tiny fits anywhere, so
// that without a budget there would be nothing to see. It is the share that the
// original system's demonstration ran with.
const tinyShare = 0.58

// setBudget sets the budget of a model where none is given.
func (m *modelFlags) setBudget(model string) {
	if m.Budget.IsZero() && m.GPUCacheRatio == nil && model == hub.Tiny {
		m.Budget = sparseflow.Budget{Share: tinyShare}
	}
}

// answerTokens is --max-tokens where it is not given and a question is answered.
const answerTokens = 512

// setDefaults sets the budget, whether a text is answered or continued, and the
// longest text and context that the request needs, where they are not given.
// Without a prompt, as in plan, it is one of a page of the KV cache.
func (f *runFlags) setDefaults(cmd *cobra.Command, model string, in input) error {
	f.model.setBudget(model)
	profile, err := profileOf(model, f.model.cacheDir)
	if err != nil {
		return err
	}
	prompt := kv.PageTokens
	if in.ids != nil {
		prompt = len(in.ids)
	} else {
		memory.LimitHeapToConvert()
		tok, err := sparseflow.LoadTokenizer(model, sparseflow.WithCacheDir(f.model.cacheDir))
		if err != nil && in.from != "" {
			return err
		}
		if f.model.tok = tok; tok != nil {
			if prompt, err = f.promptTokens(tok, in, prompt); err != nil {
				return err
			}
		}
	}
	if f.answers && !cmd.Flags().Changed("max-tokens") {
		f.asked.MaxTokens = answerTokens
	}
	if f.model.Context == 0 {
		f.model.Context = contextFor(prompt, f.asked.MaxTokens, profile.MaxPositions)
	}
	return nil
}

// promptTokens is the length of a prompt, that of the chat template where the
// model has one, or page where there is no prompt.
func (f *runFlags) promptTokens(tok *sparseflow.Tokenizer, in input, page int) (int, error) {
	_, has := tok.ChatTemplate("")
	f.answers = has && !f.raw
	switch {
	case in.from == "":
		return page, nil
	case !f.answers:
		return len(tok.Encode(in.text, tok.AddsBOS())), nil
	}
	c, err := f.talk.conversation(in.text)
	if err != nil {
		return 0, err
	}
	_, ids, err := tok.RenderChat(c)
	return len(ids), rawHint(err)
}

// contextFor is the context that a prompt and its continuation need, in whole
// pages of the KV cache, or most if that is less.
func contextFor(prompt, maxTokens, most int) int {
	need := min(prompt, most) + min(maxTokens, most) // far from overflow
	return min(kv.Pages(max(1, need))*kv.PageTokens, most)
}

// profileOf is what a model is. It reads headers only.
func profileOf(model, cacheDir string) (config.ModelProfile, error) {
	_, layout, err := layoutOf(model, cacheDir)
	if err != nil {
		return config.ModelProfile{}, err
	}
	return layout.Profile(), nil
}

// layoutOf is where a model lies, and the pack that it is or would make. It reads
// headers only.
func layoutOf(model, cacheDir string) (hub.Source, *pack.Layout, error) {
	src, err := hub.FindIn(model, cacheDir)
	if err != nil {
		return src, nil, err
	}
	layout, err := convert.Layout(src)
	return src, layout, err
}
