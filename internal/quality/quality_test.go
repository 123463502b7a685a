package quality_test

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/quality"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"github.com/sparseflow/sparseflow/internal/token"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// packDir holds packs of the embedded model once tests want them.
var packDir string

func TestMain(m *testing.M) {
	var err error
	if packDir, err = os.MkdirTemp("", "quality"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(packDir)
	os.Exit(status)
}

// packOf is the path of the pack of files, which is called name.
func packOf(t *testing.T, name string, files fs.FS) string {
	t.Helper()
	path := filepath.Join(packDir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if _, err := convert.Convert(context.Background(), files, "tiny", path, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// evaluate runs the embedded model on the first tokens of a text.
func evaluate(t *testing.T, file string, tokens int, s config.OffloadStrategy, o engine.Options, q quality.Options) *quality.Report {
	t.Helper()
	return evaluatePack(t, packOf(t, "tiny.sflow", tiny.Files), file, tokens, s, o, q)
}

func evaluatePack(t *testing.T, path, file string, tokens int, s config.OffloadStrategy, o engine.Options, q quality.Options) *quality.Report {
	t.Helper()
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Strategy = s
	e, err := engine.Open(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	text, err := os.ReadFile("../../testdata/text/" + file)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Load(tiny.Files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	ids := tok.Encode(string(text), false)[:tokens]
	if bos, _ := tok.BOS(); e.Profile().BOS < 0 {
		ids = slices.Insert(ids, 0, bos)
	}
	r, err := quality.Evaluate(context.Background(), e, ids, q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func strategy(mode config.Mode, predictor string) config.OffloadStrategy {
	s := config.DefaultStrategy()
	s.Mode, s.Predictor, s.Budget.Share = mode, predictor, 3
	s.KV = tensor.F32 // as the reference's
	return s
}

// The reference's perplexity, and active share of every layer, on the first
// 16,352 tokens of the held-out texts. The oracle computes the active neurons
// alone and loses nothing.
func TestPerplexityOfTheReference(t *testing.T) {
	for _, c := range []struct {
		file string
		ppl  float64
	}{
		{"books.valid.a.txt", 34.456086780615315},
		{"books.valid.b.txt", 36.586314483819024},
	} {
		tokens := 16352
		if testing.Short() || c.file != "books.valid.a.txt" {
			tokens = 511 // the rest would take as long again to say the same
		}
		r := evaluate(t, c.file, tokens, strategy(config.Predicted, "oracle"), engine.Options{}, quality.Options{})
		if tokens > 511 && math.Abs(r.PPLDense/c.ppl-1) > 1e-3 {
			t.Errorf("%s: got perplexity %v, want %v", c.file, r.PPLDense, c.ppl)
		}
		if r.Tokens != tokens || r.PPL != r.PPLDense || math.Abs(r.KL) > 1e-9 {
			t.Errorf("%s: oracle: got %d tokens, perplexity %v for %v, KL %v", c.file, r.Tokens, r.PPL, r.PPLDense, r.KL)
		}
		if a := r.All; a.Recall() != 1 || a.Precision() != 1 || a.OutputError() != 0 || a.Computed != a.Active {
			t.Errorf("%s: oracle: got %+v", c.file, a)
		}
	}
}

// every asks for the neurons whose id is a multiple of n.
type every int

func (e every) Scores(_, _ int, _, scores []float32) error {
	for i := range scores {
		scores[i] = -1
		if i%int(e) == 0 {
			scores[i] = 1
		}
	}
	return nil
}

// A predictor without sense: shares are those of chance, and quality falls.
func TestBlindPredictor(t *testing.T) {
	r := evaluate(t, "books.valid.a.txt", 511, strategy(config.Predicted, ""), engine.Options{Predictor: every(2)}, quality.Options{})
	if a := r.All; a.ComputedShare() != 0.5 || math.Abs(a.Recall()-0.5) > 0.1 || a.OutputError() < 0.3 || a.OutputError() > 1.2 {
		t.Errorf("got computed %v, recall %v, output error %v", a.ComputedShare(), a.Recall(), a.OutputError())
	}
	if r.PPL < 1.05*r.PPLDense || r.KL <= 0 {
		t.Errorf("got perplexity %v for %v, KL %v: leaving out half cannot be that good", r.PPL, r.PPLDense, r.KL)
	}
	if math.Abs(r.Decoding.ComputedShare()-0.5) > 1e-9 {
		t.Errorf("got %v computed while decoding, want half", r.Decoding.ComputedShare())
	}
}

// Overlapping windows score each token once, with more context.
func TestStride(t *testing.T) {
	s := strategy(config.Dense, "")
	apart := evaluate(t, "books.valid.a.txt", 200, s, engine.Options{}, quality.Options{Window: 100})
	close := evaluate(t, "books.valid.a.txt", 200, s, engine.Options{}, quality.Options{Window: 100, Stride: 30})
	if apart.Tokens != 200 || close.Tokens != 200 {
		t.Errorf("got %d and %d tokens, want 200", apart.Tokens, close.Tokens)
	}
	if close.PPL >= apart.PPL {
		t.Errorf("got perplexity %v with more context, %v with less", close.PPL, apart.PPL)
	}
}

// withoutBOS is the embedded model without a begin-of-text token.
type withoutBOS struct{ fs.FS }

func (f withoutBOS) Open(name string) (fs.File, error) {
	if name != "config.json" {
		return f.FS.Open(name)
	}
	data, err := fs.ReadFile(f.FS, name)
	if err != nil {
		return nil, err
	}
	data = []byte(strings.Replace(string(data), `"bos_token_id": 2`, `"bos_token_id": null`, 1))
	return fstest.MapFS{name: {Data: data}}.Open(name)
}

// A model without a begin-of-text token scores all of a window but its first
// token. Where the text itself begins with the token, all else is as with it.
func TestWithoutBOS(t *testing.T) {
	s := strategy(config.Predicted, "oracle")
	path := packOf(t, "without.sflow", withoutBOS{tiny.Files})
	with := evaluate(t, "books.valid.a.txt", 200, s, engine.Options{}, quality.Options{})
	one := evaluatePack(t, path, "books.valid.a.txt", 200, s, engine.Options{}, quality.Options{})
	if one.Tokens != 200 || one.PPL != with.PPL || one.KL != with.KL || one.All != with.All || one.DecodedTokens == 0 {
		t.Errorf("got %+v, want %+v", one, with)
	}
	// Of 302 tokens two windows of 151 score all but their first ones.
	for stride, want := range map[int]int{0: 300, 50: 301} {
		r := evaluatePack(t, path, "books.valid.a.txt", 301, s, engine.Options{}, quality.Options{Window: 151, Stride: stride})
		if r.Tokens != want {
			t.Errorf("stride %d: got %d tokens, want %d", stride, r.Tokens, want)
		}
	}
}

// Evaluations that share the exact pass find what each finds alone.
func TestSharedExactPass(t *testing.T) {
	s := strategy(config.Predicted, "")
	var exact quality.ExactPass
	for _, n := range []int{2, 3} {
		o := engine.Options{Predictor: every(n)}
		alone := evaluate(t, "books.valid.a.txt", 90, s, o, quality.Options{Window: 30, Stride: 20})
		shared := evaluate(t, "books.valid.a.txt", 90, s, o, quality.Options{Window: 30, Stride: 20, Exact: &exact})
		if alone.PPL != shared.PPL || alone.PPLDense != shared.PPLDense || alone.KL != shared.KL || alone.All != shared.All {
			t.Errorf("every %d: got %+v, want %+v", n, shared, alone)
		}
	}
}
