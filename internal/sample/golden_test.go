package sample

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// goldenCase is one distribution computed by Hugging Face transformers.
type goldenCase struct {
	Logits            []float32 `json:"logits"`       // [vocab]
	PreviousIDs       []int32   `json:"previous_ids"` // the context
	Temperature       float32   `json:"temperature"`
	TopK              int       `json:"top_k"`
	TopP              float32   `json:"top_p"`
	MinP              float32   `json:"min_p"`
	RepetitionPenalty float32   `json:"repetition_penalty"`
	Probs             []float64 `json:"probs"` // [vocab], six significant digits
}

func (c goldenCase) params() Params {
	return Params{
		Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, MinP: c.MinP,
		RepetitionPenalty: c.RepetitionPenalty,
	}
}

func goldenCases(t *testing.T) []goldenCase {
	t.Helper()
	text, err := os.ReadFile("testdata/sampling.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []goldenCase `json:"cases"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 60 {
		t.Fatalf("got %d cases, want 60", len(file.Cases))
	}
	return file.Cases
}

// TestGoldenDistributions allows one freedom: where top-p cuts through equal
// scores, which of them survive is not defined in the reference, whose sort is
// not stable. Equal scores must get the same probabilities, in any order.
func TestGoldenDistributions(t *testing.T) {
	var worst float64
	for i, c := range goldenCases(t) {
		logits := slices.Clone(c.Logits)
		s := newSampler(t, c.params())
		got, err := s.Probs(logits, c.PreviousIDs)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if len(got) != len(c.Probs) {
			t.Fatalf("case %d: got %d probabilities, want %d", i, len(got), len(c.Probs))
		}
		if !slices.Equal(logits, c.Logits) {
			t.Errorf("case %d: the caller's logits were changed", i)
		}
		scores, err := s.penalise(c.Logits, c.PreviousIDs)
		if err != nil {
			t.Fatal(err)
		}
		wantOrder, gotOrder := byScore(scores, c.Probs), byScore(scores, got)
		for j, want := range wantOrder {
			diff := math.Abs(gotOrder[j] - want)
			worst = max(worst, diff)
			if diff > 1e-5 || (gotOrder[j] == 0) != (want == 0) {
				t.Errorf("case %d %+v: rank %d: got %g, want %g", i, c.params(), j, gotOrder[j], want)
			}
		}
	}
	t.Logf("largest difference %.2g", worst)
}

// byScore returns probs in ascending order of the token's score, those of equal
// scores ascending.
func byScore(scores []float32, probs []float64) []float64 {
	ids := make([]int, len(scores))
	for i := range ids {
		ids[i] = i
	}
	slices.SortFunc(ids, func(a, b int) int {
		return cmp.Or(cmp.Compare(scores[a], scores[b]), cmp.Compare(probs[a], probs[b]))
	})
	sorted := make([]float64, len(probs))
	for i, id := range ids {
		sorted[i] = probs[id]
	}
	return sorted
}

func newSampler(t testing.TB, p Params) *Sampler {
	t.Helper()
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
