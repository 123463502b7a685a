// Command generation is the demonstration of the original system, on the
// public API alone: a model of which only a part fits in fast memory continues
// a text, first with every neuron computed, then with those that the
// predictor asks for.
//
//	go run ./examples/generation [-model tiny] [-tokens 48] [prompt]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/sparseflow/sparseflow"
)

func main() {
	model := flag.String("model", "tiny", "tiny, a checkpoint directory, a .sflow pack, or org/name")
	tokens := flag.Int("tokens", 48, "tokens to generate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	prompt := strings.Join(flag.Args(), " ")
	if prompt == "" {
		prompt = "Once upon a time"
	}
	for _, mode := range []sparseflow.Mode{sparseflow.Dense, sparseflow.Predicted} {
		if err := generate(ctx, *model, prompt, *tokens, mode); err != nil {
			fmt.Fprintln(os.Stderr, "generation:", err)
			os.Exit(1)
		}
	}
}

// generate runs the model with 58 % of its weights in fast memory.
func generate(ctx context.Context, model, prompt string, tokens int, mode sparseflow.Mode) error {
	eng, err := sparseflow.Open(ctx, model, sparseflow.WithStrategy(sparseflow.OffloadStrategy{
		Budget:         sparseflow.Budget{Share: 0.58},
		UseLRUEviction: true,
		AsyncTransfer:  true,
		Mode:           mode,
	}))
	if err != nil {
		return err
	}
	defer eng.Close()
	fmt.Printf("--- %s, 58 %% of the weights in fast memory ---\n%s", mode, prompt)
	res, err := eng.Generate(ctx, sparseflow.Request{
		Prompt:    prompt,
		MaxTokens: tokens,
		OnText:    func(s string) { fmt.Print(s) },
	})
	if err != nil {
		return err
	}
	s := res.Stats
	fmt.Printf("\n\n%d tokens, %.0f tokens/s; %.0f %% of wanted neurons were in the cache; %.1f %% of all neurons computed\n\n",
		s.Tokens, s.TokensPerSecond(), 100*s.HitRate(), 100*s.ComputedShare())
	return nil
}
