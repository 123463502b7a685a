package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sparseflow/sparseflow"
)

// converse asks for one text after another and continues each, until the input
// ends. The texts know nothing of each other.
func (a *app) converse(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request) error {
	fmt.Fprintln(a.stderr, "Type a text to continue and press Enter; Ctrl-D ends.")
	lines := bufio.NewReader(a.stdin)
	for {
		fmt.Fprint(a.stderr, "\n>>> ")
		line, err := lines.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		if text != "" {
			if genErr := a.answer(ctx, eng, f, r, text); genErr != nil {
				return genErr
			}
		}
		if err != nil {
			fmt.Fprintln(a.stderr) // the cursor is behind >>>
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// answer continues one text. What is wrong with the text alone is told and
// forgiven.
func (a *app) answer(ctx context.Context, eng *sparseflow.Engine, f *runFlags, r sparseflow.Request, text string) error {
	res, err := a.generate(ctx, eng, f, r, input{text: text, from: "the terminal"})
	switch {
	case err == nil && f.model.stats:
		statsTable(a.stderr, res.Stats, r.Sampling.Seed, eng)
		return nil
	case err == nil:
		fmt.Fprintf(a.stderr, "[%s]\n", speedLine(res.Stats))
		return nil
	case ctx.Err() != nil || a.stdout.err != nil || errors.Is(err, sparseflow.ErrNoTokenizer):
		return err
	}
	fmt.Fprintln(a.stderr, "sparseflow:", err)
	return nil
}
