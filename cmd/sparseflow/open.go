package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/memory"
)

// open opens the model that the flags describe, with progress and notices on
// standard error. An early one shows its progress until it is loaded. text says
// that text will be handed over, so that there must be a tokenizer.
func (a *app) open(ctx context.Context, cmd *cobra.Command, model string, m *modelFlags, early, text bool) (*sparseflow.Engine, error) {
	strategy, err := m.strategy(cmd)
	if err != nil {
		return nil, err
	}
	bar := a.newProgress()
	memory.LimitHeapToConvert()
	options := []sparseflow.Option{
		sparseflow.WithStrategy(strategy),
		sparseflow.WithCacheDir(m.cacheDir),
		sparseflow.WithProgress(bar.report),
		sparseflow.WithNotices(bar.note),
		sparseflow.WithPlacement(func(p *sparseflow.Placement) { memory.LimitHeap(p.Process.BudgetBytes, p.MemoryBytes) }),
	}
	if m.simDisk != nil {
		bar.note(fmt.Sprintf("the pack is read from a simulated disk of %v", m.simDisk))
		options = append(options, sparseflow.WithSimDisk(*m.simDisk))
	}
	if early {
		options = append(options, sparseflow.WithEarlyOpen())
	}
	if text {
		options = append(options, sparseflow.WithTokenizer())
	}
	if m.tok != nil {
		options = append(options, sparseflow.WithLoadedTokenizer(m.tok))
	}
	eng, err := sparseflow.Open(ctx, model, options...)
	if err != nil || !early {
		bar.close()
	}
	return eng, err
}

// with opens a model as open does, for as long as use takes.
func (a *app) with(cmd *cobra.Command, model string, m *modelFlags, early, text bool, use func(*sparseflow.Engine) error) error {
	eng, err := a.open(cmd.Context(), cmd, model, m, early, text)
	if err != nil {
		return err
	}
	return errors.Join(use(eng), eng.Close())
}

// idsOf is the text as token ids, with the model's begin-of-text token before
// it unless it was given as ids.
func idsOf(eng *sparseflow.Engine, in input) ([]int32, error) {
	if in.ids != nil {
		return in.ids, nil
	}
	ids, err := eng.Tokenize(in.text)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("got an empty text from %s, want some: this model has no begin-of-text token", in.from)
	}
	return ids, err
}
