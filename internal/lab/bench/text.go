package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

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

// ReadText is the first n tokens, or with n 0 all, of a file of ids, with spaces,
// commas or line ends between. Ids beyond the vocabulary are folded into it, so that models of any
// vocabulary can be forced along a text of the same statistics.
func ReadText(path string, p config.ModelProfile, n int) (Text, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Text{}, fmt.Errorf("bench: text: %w", err)
	}
	ids, err := parseIDs(data, p.VocabSize, n)
	if err != nil {
		return Text{}, fmt.Errorf("bench: text: %s: %w", path, err)
	}
	return Text{ids, "the ids in " + filepath.Base(path)}, nil
}

func parseIDs(data []byte, vocab, n int) ([]int32, error) {
	words := bytes.FieldsFunc(data, func(r rune) bool { return r == ',' || r <= ' ' })
	if n == 0 {
		n = max(1, len(words))
	}
	if len(words) < n {
		return nil, fmt.Errorf("got %d token ids, want at least %d for what is asked", len(words), n)
	}
	ids := make([]int32, n)
	for i, w := range words[:n] {
		id, err := strconv.ParseUint(string(w), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("got %.20q as id %d, want a whole number from 0", w, i)
		}
		ids[i] = int32(id % uint64(vocab))
	}
	return ids, nil
}
