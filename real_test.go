package sparseflow

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// realGolden is what the reference computes with a file's dequantised weights.
type realGolden struct {
	File  string
	Cases []struct {
		Text     string
		IDs      []int32
		TopIDs   []int32   `json:"top64_ids"`
		Top      []float64 `json:"top64_logits"`
		LogSum   float64   `json:"logsumexp"`
		Logprobs []float64 `json:"logprobs_of_next"`
		Greedy   []int32   `json:"greedy_24"`
		Margins  []float64 `json:"greedy_margins"` // of each greedy token to the next best
	}
	Chats []struct {
		Messages []struct{ Role, Content string }
		Prompt   string
		IDs      []int32
		Greedy   []int32 `json:"greedy_24"`
	}
	Perplexity struct {
		Tokens, Window int
		PPL            float64
	}
}

// readReal reads the golden values and tells where the model is. It skips the test
// where either is not on this machine.
func readReal(t *testing.T, golden, model string) (realGolden, string) {
	t.Helper()
	dir := os.Getenv("SPARSEFLOW_REAL_MODELS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("no directory of real models: %v", err)
		}
		dir = filepath.Join(cache, "sparseflow", "real-models")
	}
	path := filepath.Join(dir, model)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real model (%v): scripts/real-models.sh fetches it", err)
	}
	f, err := os.Open(golden)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%v: the values of a model whose terms are its own lie beside the checkout", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(golden) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var g realGolden
	if err := json.NewDecoder(r).Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g, path
}

// Real models, quantised, as they lie: exactly what the reference says of the
// dequantised weights with --activations f32, and nearly with 8-bit activations.
func TestRealModels(t *testing.T) {
	for _, m := range []struct{ golden, model string }{
		{"testdata/real/smollm2.json.gz", "SmolLM2-135M-Instruct.Q4_1.gguf"},
		{"../shared/golden/real/gemma3.json", "gemma-3-270m-q4_k_m.gguf"},
	} {
		t.Run(m.model, func(t *testing.T) {
			g, path := readReal(t, m.golden, m.model)
			for _, v := range []struct {
				activations string
				budget      Budget
				kl, margin  float64 // of the next token; at which greedy tokens may part
				ppl         float64
			}{
				{"f32", Budget{Share: 2}, 1e-5, 0, 1e-4},
				{"q8", Budget{Share: 2}, 5e-3, 0.5, 0.005},
				{"q8", Budget{Share: 0.5}, 5e-3, 0.5, 0},
			} {
				if testing.Short() {
					if v.budget.Share < 1 {
						continue // placements give the same bits, by other tests
					}
					if v.activations == "f32" {
						v.ppl = 0 // takes several times as long
					}
				}
				s := DefaultStrategy()
				s.Activations, s.Budget, s.KV, s.Context = v.activations, v.budget, F32, 1024
				e, err := Open(context.Background(), path, WithStrategy(s), WithCacheDir(t.TempDir()))
				if err != nil {
					t.Fatal(err)
				}
				t.Run(v.activations+" "+v.budget.String(), func(t *testing.T) {
					checkReal(t, e, g, v.kl, v.margin)
					if v.activations == "f32" {
						checkChats(t, e, g)
					}
					if v.ppl > 0 && g.Perplexity.Tokens > 0 {
						checkPerplexity(t, e, g, v.ppl)
					}
				})
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
			// As a user opens it, with keys and values of 16 bits.
			e, err := Open(context.Background(), path, WithCacheDir(t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			checkChats(t, e, g)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkReal(t *testing.T, e *Engine, g realGolden, kl, margin float64) {
	var worst float64
	for _, c := range g.Cases {
		ids, err := e.Tokenize(c.Text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids, c.IDs) {
			t.Errorf("%q: got ids %v, want %v", c.Text, ids, c.IDs)
			continue
		}
		var last []float32
		res, err := e.e.Run(context.Background(), engine.Request{
			IDs: ids, MaxTokens: len(c.Greedy), IgnoreEOS: true,
			Logits: func(at int, logits []float32) {
				if at == len(ids)-1 {
					last = slices.Clone(logits)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := divergence(c.TopIDs, c.Top, c.LogSum, last); !(d <= kl) {
			t.Errorf("%q: got a KL divergence of %.3g for the next token, want at most %g", c.Text, d, kl)
		} else {
			worst = max(worst, d)
		}
		if at := parts(res.IDs, c.Greedy); at < len(c.Greedy) && (margin == 0 || c.Margins[at] >= margin) {
			t.Errorf("%q: got %v, want %v: they part at %d, where the margin is %g", c.Text, res.IDs, c.Greedy, at, c.Margins[at])
		}
	}
	t.Logf("largest KL divergence %.2g", worst)
}

func checkChats(t *testing.T, e *Engine, g realGolden) {
	for _, c := range g.Chats {
		var conv Conversation
		for _, m := range c.Messages {
			conv.Messages = append(conv.Messages, Message{Role: m.Role, Content: m.Content})
		}
		text, ids, err := e.Tokenizer().RenderChat(conv)
		if err != nil {
			t.Fatal(err)
		}
		if text != c.Prompt || !slices.Equal(ids, c.IDs) {
			t.Errorf("chat: got %q, %v, want %q, %v", text, ids, c.Prompt, c.IDs)
		}
		res, err := e.Chat(context.Background(), conv, Request{MaxTokens: 24}, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The reference gives the token that ends the answer too.
		if !slices.Equal(res.IDs, c.Greedy[:len(c.Greedy)-1]) || res.Finish != FinishStop {
			t.Errorf("chat of %q: got %v, want %v", c.Prompt, res.IDs, c.Greedy)
		}
	}
}

// divergence is KL(want || got) of which the 64 likeliest tokens are known, and of
// the rest their sum.
func divergence(ids []int32, logits []float64, logSum float64, got []float32) float64 {
	var d, restWant, restGot float64 = 0, 1, 1
	for i, id := range ids {
		p, q := logits[i]-logSum, sample.Logprob(got, id)
		d += math.Exp(p) * (p - q)
		restWant -= math.Exp(p)
		restGot -= math.Exp(q)
	}
	if restWant > 1e-6 && restGot > 0 {
		d += restWant * math.Log(restWant/restGot)
	}
	return math.Abs(d)
}

// parts is where two lists begin to differ.
func parts(got, want []int32) int {
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return i
		}
	}
	return len(want)
}

// checkPerplexity is of the text's first tokens in windows, each a text of its own:
// the begin-of-text token or, without one, the window's first token is given.
func checkPerplexity(t *testing.T, e *Engine, g realGolden, change float64) {
	text, err := os.ReadFile("testdata/text/books.valid.a.txt")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := e.TokenizePlain(strings.ToValidUTF8(string(text[:min(len(text), 1<<16)]), ""))
	if err != nil {
		t.Fatal(err)
	}
	n, sum := 0, 0.0
	given := 0
	if e.Profile().BOS < 0 {
		given = 1
	}
	for n < g.Perplexity.Tokens {
		window := ids[:g.Perplexity.Window+given]
		ids = ids[len(window):]
		if given == 0 {
			window = append([]int32{e.Profile().BOS}, window...)
		}
		s, err := e.Score(context.Background(), window)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Logprobs[1:] {
			sum -= l
			n++
		}
	}
	got, want := math.Exp(sum/float64(n)), g.Perplexity.PPL
	t.Logf("perplexity over %d tokens: %.5f, the reference %.5f", n, got, want)
	if d := math.Abs(got/want - 1); !(d <= change) {
		t.Errorf("got perplexity %v, want %v within %g", got, want, change)
	}
}
