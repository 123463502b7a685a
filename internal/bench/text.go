package bench

import (
	"fmt"
	"math/rand/v2"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/tokenizer"
	"github.com/sparseflow/sparseflow/models/text"
)

// Text is the token ids that every mode is forced to decode.
type Text struct {
	IDs  []int32
	Name string // what it is, for people
}

// ForcedText is n tokens for a model: of the bundled sample, or without a
// tokenizer (tok is nil) always the same ids, drawn as often as words are used.
func ForcedText(p config.ModelProfile, tok *tokenizer.Tokenizer, n int) (Text, error) {
	if tok == nil {
		return Text{zipf(p, n), "ids drawn by Zipf's law"}, nil
	}
	ids := tok.Encode(text.Sample, false)
	if len(ids) < n {
		return Text{}, fmt.Errorf("bench: text: got a sample of %d tokens, want %d: fewer or shorter --tests or --reps", len(ids), n)
	}
	return Text{ids[:n:n], "the bundled sample of books"}, nil
}

// zipf draws ids of which the k-th likeliest comes with a probability of about
// 1/k, which is how often the words of a language are used. Special tokens are
// left out, and which id is likely is shuffled, as it is not in a tokenizer.
func zipf(p config.ModelProfile, n int) []int32 {
	rng := rand.New(rand.NewPCG(1, 2))
	order := rng.Perm(p.VocabSize)
	draw := rand.NewZipf(rng, 1.0001, 1, uint64(p.VocabSize-1))
	ids := make([]int32, n)
	for i := range ids {
		id := int32(order[draw.Uint64()])
		for tries := 0; tries < 100 && (p.IsEOS(id) || id == p.BOS || id == p.PAD); tries++ {
			id = int32(order[draw.Uint64()])
		}
		ids[i] = id
	}
	return ids
}
