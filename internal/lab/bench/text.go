package bench

import (
	"fmt"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/sample"
	"github.com/sparseflow/sparseflow/models/text"
)

// Text is the token ids that every mode is forced to decode.
type Text struct {
	IDs  []int32
	Name string // what it is, for people
}

// ForcedText is n tokens for a model: of the bundled sample, or without a
// tokenizer (tok is nil), as synthetic ones have none, always the same draw.
func ForcedText(p config.ModelProfile, tok *sparseflow.Tokenizer, n int) (Text, error) {
	if tok == nil {
		return Text{sample.DrawTokens(p.VocabSize, n, 0), "token ids drawn by Zipf's law"}, nil
	}
	ids := tok.Encode(text.Sample, false)
	if len(ids) < n {
		return Text{}, fmt.Errorf("bench: text: got a sample of %d tokens, want %d: fewer or shorter --tests or --reps", len(ids), n)
	}
	return Text{ids[:n:n], "the bundled sample of books"}, nil
}
