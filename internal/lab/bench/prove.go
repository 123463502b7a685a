package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/quality"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// Quality is what leaving neurons out costs, against the exact model on the
// same forced tokens.
type Quality struct {
	Tokens         int     `json:"tokens"`
	KL             float64 `json:"kl"`              // mean divergence of the next token's distribution, nats
	RecallWeighted float64 `json:"recall_weighted"` // share of |activation| that was computed
	WorstRecall    float64 `json:"recall_weighted_worst_layer"`
	MLPError       float64 `json:"mlp_error"` // of the MLP's output, relative
	WorstError     float64 `json:"mlp_error_worst_layer"`
	Active         float64 `json:"active"`   // share of all neurons
	Computed       float64 `json:"computed"` // share of all neurons
	// GreedySame is how many of the first greedy tokens are those of the
	// exact model, out of Greedy, which is 0 where no exact mode ran before.
	GreedySame int `json:"greedy_same"`
	Greedy     int `json:"greedy"`
}

// prompt is the begin-of-text token, where the model has one, and the text's
// first n tokens.
func (c *child) prompt(n int) []int32 {
	if bos := c.e.Profile().BOS; bos >= 0 {
		return append([]int32{bos}, c.IDs[:n]...)
	}
	return slices.Clone(c.IDs[:n])
}

// prove checks the output and measures its quality.
func (c *child) prove(ctx context.Context) (p Proof, q *Quality, err error) {
	p.BOS = c.e.Profile().BOS
	if p.LogitsSHA256, p.Likeliest, err = c.exactLogits(ctx); err != nil {
		return p, nil, err
	}
	if p.Greedy, err = c.greedy(ctx); err != nil {
		return p, nil, err
	}
	if !c.exact(c.Mode) {
		if q, err = c.audit(ctx); err != nil {
			return p, nil, err
		}
	}
	return p, q, c.compare(p, q)
}

// compare holds the output to what is expected.
func (c *child) compare(got Proof, q *Quality) error {
	want := c.Expect
	if want == nil {
		return nil
	}
	if got.LogitsSHA256 != want.LogitsSHA256 {
		return fmt.Errorf("bench: mode %s: exact logits of %d tokens: got SHA-256 %.12s, want %.12s: another output than the first mode's", c.Mode, checkTokens, got.LogitsSHA256, want.LogitsSHA256)
	}
	if c.exact(c.Mode) && want.Greedy != nil && !slices.Equal(got.Greedy, want.Greedy) {
		return fmt.Errorf("bench: mode %s: greedy tokens: got %v, want %v, the first mode's", c.Mode, got.Greedy, want.Greedy)
	}
	if q != nil && want.Greedy != nil {
		q.Greedy = len(got.Greedy)
		for q.GreedySame < min(len(got.Greedy), len(want.Greedy)) && got.Greedy[q.GreedySame] == want.Greedy[q.GreedySame] {
			q.GreedySame++
		}
	}
	return nil
}

// checked is how many tokens of the text, at most n, fit before the greedy ones.
func (c *child) checked(n int) int {
	return min(n, c.e.Placement().Context-greedyTokens-1, len(c.IDs))
}

// exactLogits is a digest of the exact model's first checkTokens logits, and the
// likeliest token of each that follows one of the text.
func (c *child) exactLogits(ctx context.Context) (digest string, likeliest []int32, err error) {
	sum, ids := sha256.New(), c.checked(checkTokens)
	prompt := c.prompt(ids)
	_, err = c.e.Run(ctx, engine.Request{IDs: prompt, Exact: true, Logits: func(at int, logits []float32) {
		if at < checkTokens {
			writeBits(sum, logits)
		}
		if at >= len(prompt)-ids {
			likeliest = append(likeliest, sample.Argmax(logits))
		}
	}})
	return hex.EncodeToString(sum.Sum(nil)), likeliest, err
}

// writeBits adds the bits of v to a digest.
func writeBits(h hash.Hash, v []float32) {
	buf := make([]byte, 4<<10)
	for len(v) > 0 {
		n := min(len(v), len(buf)/4)
		for i, x := range v[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		h.Write(buf[:4*n])
		v = v[n:]
	}
}

// greedy is how the text goes on after checkTokens tokens, in the mode.
func (c *child) greedy(ctx context.Context) ([]int32, error) {
	res, err := c.e.Run(ctx, engine.Request{IDs: c.prompt(c.checked(checkTokens)), MaxTokens: greedyTokens, IgnoreEOS: true})
	if err != nil {
		return nil, err
	}
	return res.IDs, nil
}

// audit compares the mode with the exact model.
func (c *child) audit(ctx context.Context) (*Quality, error) {
	r, err := quality.Compare(ctx, c.e, c.IDs[:c.checked(auditTokens)], quality.Options{})
	if err != nil {
		return nil, err
	}
	q := &Quality{
		Tokens: r.Tokens, KL: r.KL, RecallWeighted: r.All.RecallWeighted(), WorstRecall: 1, MLPError: r.All.OutputError(),
		Active: r.All.ActiveShare(), Computed: r.All.ComputedShare(),
	}
	for _, l := range r.Layers {
		q.WorstRecall = min(q.WorstRecall, l.RecallWeighted())
		q.WorstError = max(q.WorstError, l.OutputError())
	}
	return q, nil
}
