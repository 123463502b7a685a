package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawLogits draws logits with many ties, among them 0 and -0.
func drawLogits(t *rapid.T) []float32 {
	value := rapid.OneOf(
		rapid.Float32Range(-30, 30),
		rapid.SampledFrom([]float32{-8, -1.5, float32(math.Copysign(0, -1)), 0, 1e-30, 1, 2, 2.5}),
	)
	return rapid.SliceOfN(value, 1, 300).Draw(t, "logits")
}

func drawParams(t *rapid.T) Params {
	return Params{
		Temperature:       rapid.SampledFrom([]float32{0, 0.3, 0.7, 1, 1.5}).Draw(t, "temperature"),
		TopK:              rapid.IntRange(0, 320).Draw(t, "topK"),
		TopP:              rapid.SampledFrom([]float32{0, 1e-6, 0.1, 0.3, 0.5, 0.9, 0.999, 1}).Draw(t, "topP"),
		MinP:              rapid.SampledFrom([]float32{0, 0.05, 0.3, 1}).Draw(t, "minP"),
		RepetitionPenalty: rapid.SampledFrom([]float32{0, 0.8, 1, 1.2, 2}).Draw(t, "penalty"),
		Seed:              rapid.Uint64().Draw(t, "seed"),
	}
}

func drawContext(t *rapid.T, vocab int) []int32 {
	return rapid.SliceOfN(rapid.Int32Range(0, int32(vocab-1)), 0, 20).Draw(t, "previous")
}

func mustProbs(t interface {
	Helper()
	Fatal(...any)
}, p Params, logits []float32, previous []int32) []float64 {
	t.Helper()
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	probs, err := s.Probs(logits, previous)
	if err != nil {
		t.Fatal(err)
	}
	return probs
}

func TestProbsEqualReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits, p := drawLogits(t), drawParams(t)
		previous := drawContext(t, len(logits))
		got, want := mustProbs(t, p, logits, previous), referenceProbs(p, logits, previous)
		var sum float64
		for id := range want {
			if math.Abs(got[id]-want[id]) > 1e-9 {
				t.Errorf("id %d: got %g, want %g", id, got[id], want[id])
			}
			sum += got[id]
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("probabilities sum to %g, want 1", sum)
		}
	})
}

// Every limit made stricter leaves a subset; ties at top-p included.
func TestFiltersAreMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits, loose := drawLogits(t), drawParams(t)
		loose.Temperature = 1
		strict := loose
		switch rapid.SampledFrom([]string{"top-k", "top-p", "min-p"}).Draw(t, "limit") {
		case "top-k":
			// With the mass limits on, fewer candidates mean other shares.
			loose.TopP, strict.TopP = 0, 0
			loose.TopK = rapid.IntRange(2, 300).Draw(t, "loose")
			strict.TopK = rapid.IntRange(1, loose.TopK).Draw(t, "strict")
		case "top-p":
			loose.TopP = rapid.Float32Range(0.01, 1).Draw(t, "loose")
			strict.TopP = rapid.Float32Range(0.001, loose.TopP).Draw(t, "strict")
		case "min-p":
			loose.MinP = rapid.Float32Range(0, 1).Draw(t, "loose")
			strict.MinP = rapid.Float32Range(loose.MinP, 1).Draw(t, "strict")
		}
		wide, narrow := mustProbs(t, loose, logits, nil), mustProbs(t, strict, logits, nil)
		kept := 0
		for id := range narrow {
			if narrow[id] > 0 {
				kept++
				if wide[id] == 0 {
					t.Errorf("id %d passes %+v but not %+v", id, strict, loose)
				}
			}
		}
		if kept == 0 {
			t.Errorf("%+v removes every token", strict)
		}
	})
}

// Whatever the bits of the logits, Sample reports an error or returns a token
// of positive probability, the same again for the same seed.
func TestSampleOnAnyBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SliceOfN(rapid.Uint32(), 0, 50).Draw(t, "bits")
		logits := make([]float32, len(bits))
		finite := len(bits) > 0
		for i, b := range bits {
			logits[i] = math.Float32frombits(b)
			finite = finite && !math.IsInf(float64(logits[i]), 0) && logits[i] == logits[i]
		}
		p := drawParams(t)
		p.RepetitionPenalty = 0
		a, _ := New(p)
		b, _ := New(p)
		for range 5 {
			id, err := a.Sample(logits, nil)
			if (err == nil) != finite {
				t.Fatalf("logits %v: got error %v, want one where a logit is not finite", logits, err)
			}
			again, _ := b.Sample(logits, nil)
			if again != id {
				t.Fatalf("got id %d and then %d from one seed", id, again)
			}
			if err == nil && mustProbs(t, p, logits, nil)[id] == 0 {
				t.Fatalf("id %d was drawn and has no probability", id)
			}
		}
	})
}

func TestGreedyEqualsArgmax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logits, p := drawLogits(t), drawParams(t)
		want := Argmax(logits)
		p.Temperature, p.RepetitionPenalty = 0, 1
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Sample(logits, nil)
		if err != nil || got != want {
			t.Fatalf("got id %d and error %v, want %d", got, err, want)
		}
	})
}

// Of equal tokens top-p leaves what the decimal says, though 0.3 in float32 is a
// little more than three tenths; the higher ids stay.
func TestTopPOfEqualTokens(t *testing.T) {
	for _, tt := range []struct {
		tokens int
		topP   float32
		kept   int
	}{{10, 0.3, 3}, {10, 0.9, 9}, {10, 0.05, 1}, {10, 0.31, 4}, {5, 0.6, 3}, {2, 0.5, 1}, {3, 1, 3}} {
		probs := mustProbs(t, Params{Temperature: 0.7, TopP: tt.topP}, make([]float32, tt.tokens), nil)
		for id, got := range probs {
			want := 0.0
			if id >= tt.tokens-tt.kept {
				want = 1 / float64(tt.kept)
			}
			if math.Abs(got-want) > 1e-15 {
				t.Errorf("%d tokens at %g: id %d: got %g, want %g", tt.tokens, tt.topP, id, got, want)
			}
		}
	}
}

func TestTinyTemperatureIsGreedy(t *testing.T) {
	logits := []float32{1, 3e38, 2, -3e38}
	got := mustProbs(t, Params{Temperature: math.SmallestNonzeroFloat32}, logits, nil)
	if diff := cmp.Diff([]float64{0, 1, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRepetitionPenaltyCountsOnce(t *testing.T) {
	s := newSampler(t, Params{RepetitionPenalty: 2})
	logits := []float32{4, -1, 1.5, -3}
	got, err := s.penalise(logits, []int32{0, 3, 0, 3, 0})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{2, -1, 1.5, -6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// The next context is penalised from the logits alone.
	got, _ = s.penalise(logits, []int32{2})
	if want := []float32{4, -1, 0.75, -3}; !slices.Equal(got, want) {
		t.Errorf("second context: got %v, want %v", got, want)
	}
}

// The stream of a seed is part of what a user sees: a text does not change with
// the release.
func TestSeedIsPinned(t *testing.T) {
	logits := make([]float32, 1000)
	s := newSampler(t, Params{Temperature: 1, Seed: 42})
	var got []int32
	for range 8 {
		id, err := s.Sample(logits, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if want := []int32{335, 877, 86, 76, 701, 974, 162, 887}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Pearson's chi-square over all tokens that may be drawn.
func TestFrequencies(t *testing.T) {
	const draws = 40_000
	logits := []float32{0.2, 1.7, -3, 1.7, 0.9, -0.4, 2.2, 1.1, -1, 0, 0.6, 1.3}
	p := Params{Temperature: 1.3, TopK: 9, TopP: 0.95, Seed: 7}
	s := newSampler(t, p)
	probs := mustProbs(t, p, logits, nil)
	counts := make([]float64, len(logits))
	for range draws {
		id, err := s.Sample(logits, nil)
		if err != nil {
			t.Fatal(err)
		}
		counts[id]++
	}
	var chi float64
	freedom := -1
	for id, prob := range probs {
		if prob == 0 {
			if counts[id] > 0 {
				t.Errorf("id %d was drawn %g times, want never", id, counts[id])
			}
			continue
		}
		want := prob * draws
		chi += (counts[id] - want) * (counts[id] - want) / want
		freedom++
	}
	// 26.1 is the 99.9 % quantile for 8 degrees of freedom.
	if freedom < 5 || freedom > 8 || chi > 26.1 {
		t.Errorf("got chi-square %.1f at %d degrees of freedom, want at most 26.1 at 5 to 8", chi, freedom)
	}
}

func TestDrawSkipsWeightless(t *testing.T) {
	candidates := []candidate{{id: 0}, {id: 1, weight: 0.5}, {id: 2}, {id: 3, weight: 1.5}, {id: 4}}
	for _, tt := range []struct {
		u    float64
		want int32
	}{{0, 1}, {0.2499, 1}, {0.25, 3}, {0.9999, 3}, {1, 3}} {
		if got := draw(candidates, tt.u); got != tt.want {
			t.Errorf("draw at %g: got id %d, want %d", tt.u, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	tests := []struct {
		name     string
		params   Params
		logits   []float32
		previous []int32
		want     string // in the error
	}{
		{"temperature", Params{Temperature: -1}, nil, nil, "sample: temperature: got -1, want"},
		{"temperature NaN", Params{Temperature: nan}, nil, nil, "sample: temperature: got NaN, want"},
		{"temperature infinite", Params{Temperature: inf}, nil, nil, "sample: temperature: got +Inf, want"},
		{"top-k", Params{TopK: -3}, nil, nil, "sample: top-k: got -3, want"},
		{"top-p", Params{TopP: 1.5}, nil, nil, "sample: top-p: got 1.5, want"},
		{"top-p negative", Params{TopP: -0.1}, nil, nil, "sample: top-p: got -0.1, want"},
		{"top-p NaN", Params{TopP: nan}, nil, nil, "sample: top-p: got NaN, want"},
		{"min-p", Params{MinP: 2}, nil, nil, "sample: min-p: got 2, want"},
		{"min-p NaN", Params{MinP: nan}, nil, nil, "sample: min-p: got NaN, want"},
		{"penalty", Params{RepetitionPenalty: -1}, nil, nil, "sample: repetition-penalty: got -1, want"},
		{"penalty infinite", Params{RepetitionPenalty: inf}, nil, nil, "sample: repetition-penalty: got +Inf, want"},
		{"no logits", Params{}, nil, nil, "sample: logits: got none, want"},
		{"logit NaN", Params{}, []float32{1, nan, inf}, nil, "sample: logit of id 1: got NaN, want"},
		{"logit +Inf", Params{Temperature: 1}, []float32{1, 2, inf}, nil, "sample: logit of id 2: got +Inf, want"},
		{"logit -Inf", Params{}, []float32{-inf, 2}, nil, "sample: logit of id 0: got -Inf, want"},
		{"penalty overflows", Params{RepetitionPenalty: 1e-9}, []float32{1, 1e38}, []int32{1}, "sample: logit of id 1: got +Inf, want"},
		{"context", Params{RepetitionPenalty: 1.2}, []float32{1, 2}, []int32{0, 2}, "previous[1]: got id 2, want 0 to 1"},
		{"context negative", Params{RepetitionPenalty: 1.2}, []float32{1, 2}, []int32{-1}, "previous[0]: got id -1, want 0 to 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(tt.params)
			if err == nil {
				_, err = s.Probs(tt.logits, tt.previous)
				if id, again := s.Sample(tt.logits, tt.previous); again == nil || id != -1 {
					t.Errorf("Sample: got id %d and error %v, want -1 and an error", id, again)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestSampleAllocatesNothing(t *testing.T) {
	logits := randomLogits(5000)
	for i := range 300 {
		logits[i] = 20 // many more ties than top-k makes room for
	}
	previous := []int32{1, 2, 3, 2, 4999}
	for _, p := range []Params{
		{},
		{RepetitionPenalty: 1.2},
		{Temperature: 1},
		{Temperature: 0.8, TopK: 50, TopP: 0.9, MinP: 0.05, RepetitionPenalty: 1.2},
		{Temperature: 0.8, TopP: 0.9},
	} {
		s := newSampler(t, p)
		// AllocsPerRun calls once before it counts.
		allocs := testing.AllocsPerRun(20, func() {
			if _, err := s.Sample(logits, previous); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%+v: got %g allocations a token, want 0", p, allocs)
		}
	}
}

func randomLogits(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	return logits
}

func BenchmarkSample(b *testing.B) {
	for _, bm := range []struct {
		name   string
		vocab  int
		params Params
	}{
		{"greedy/50k", 50_272, Params{}},
		{"greedy/256k", 256_000, Params{}},
		{"temperature/50k", 50_272, Params{Temperature: 1}},
		{"top-k 50/50k", 50_272, Params{Temperature: 1, TopK: 50}},
		{"top-k 50/256k", 256_000, Params{Temperature: 1, TopK: 50}},
		{"top-k 25k/50k", 50_272, Params{Temperature: 1, TopK: 25_000}},
		{"top-p 0.9/50k", 50_272, Params{Temperature: 1, TopP: 0.9}},
		{"top-p 0.9/256k", 256_000, Params{Temperature: 1, TopP: 0.9}},
		{"all/50k", 50_272, Params{Temperature: 0.8, TopK: 50, TopP: 0.9, MinP: 0.05, RepetitionPenalty: 1.1}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			logits := randomLogits(bm.vocab)
			s := newSampler(b, bm.params)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sample(logits, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
