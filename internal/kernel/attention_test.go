package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// callAttention calls the kernels over a page of n keys or values.
func callAttention(c *caller, hd, n int) {
	s := &c.s.Attention
	w32, w16 := give(c, c.floats(n*hd)), give(c, c.halves(n*hd))
	stride := n + c.gap
	q, p := give(c, c.floats(4*hd)), give(c, c.floats(4*stride))
	factors := []float32{0.5, 1, -2, 0.3}
	first := func(v []float32) []float32 { return v[:hd] }
	take(c, "Scores4", c.floats(4*stride), func(o []float32) { s.Scores4(o, stride, n, q, w32) })
	take(c, "Values4", q, func(o []float32) { s.Values4(o, factors, p, stride, n, w32) })
	take(c, "ValuesF32", first(q), func(o []float32) { s.F32.Values(o, 0.5, p[:n], Bytes(w32), nil) })
	take(c, "ValuesF16", first(q), func(o []float32) { s.F16.Values(o, 0.5, p[:n], Bytes(w16), nil) })
	var w8 []byte
	if hd%32 == 0 {
		w8 = give(c, c.weights(tensor.Q8_0, n*hd))
		take(c, "ValuesQ8", first(q), func(o []float32) { s.Q8.Values(o, 0.5, p[:n], w8, nil) })
	}
	if n%4 == 0 {
		scores := make([]float32, n)
		take(c, "ScoresF32", scores, func(o []float32) { s.F32.Scores(o, first(q), Bytes(w32), nil) })
		take(c, "ScoresF16", scores, func(o []float32) { s.F16.Scores(o, first(q), Bytes(w16), nil) })
		if w8 != nil {
			take(c, "ScoresQ8", scores, func(o []float32) { s.Q8.Scores(o, first(q), w8, nil) })
		}
	}
}

// Whatever type keys and values are stored as and however many queries share
// them, results are those of their float32 elements, taken one by one.
func TestAttentionTypesAgree(t *testing.T) {
	const hd, n = 96, 36
	src := newSource(3, 0)
	q, p := src.floats(4*hd), src.floats(4*n)
	w16, w8 := src.halves(n*hd), src.weights(tensor.Q8_0, n*hd)
	halves, eighths := make([]float32, hd*n), make([]float32, hd*n)
	decodeF16(halves, w16)
	tensor.Decode(eighths, w8, tensor.Q8_0)
	for _, set := range All() {
		s := &set.Attention
		for name, c := range map[string]struct {
			wide   []float32
			scores func(o []float32)
			values func(y []float32)
		}{
			"f16": {halves, func(o []float32) { s.F16.Scores(o, q[:hd], Bytes(w16), nil) }, func(y []float32) { s.F16.Values(y, 0.5, p[:n], Bytes(w16), nil) }},
			"q8":  {eighths, func(o []float32) { s.Q8.Scores(o, q[:hd], w8, nil) }, func(y []float32) { s.Q8.Values(y, 0.5, p[:n], w8, nil) }},
		} {
			got, want, four := make([]float32, n), make([]float32, n), make([]float32, 4*n)
			c.scores(got)
			s.F32.Scores(want, q[:hd], Bytes(c.wide), nil)
			s.Scores4(four, n, n, q, c.wide)
			if !slices.Equal(got, want) || !slices.Equal(four[:n], want) {
				t.Errorf("%s, %s: scores differ from those of the same keys in float32", set.Name, name)
			}
			y, y1, y4 := slices.Clone(q[:hd]), slices.Clone(q[:hd]), slices.Clone(q)
			c.values(y)
			s.F32.Values(y1, 0.5, p[:n], Bytes(c.wide), nil)
			s.Values4(y4, []float32{0.5, 0.5, 0.5, 0.5}, p, n, n, c.wide)
			if !slices.Equal(y, y1) || !slices.Equal(y4[:hd], y1) {
				t.Errorf("%s, %s: sums differ from those of the same values in float32", set.Name, name)
			}
		}
	}
}

// TestScoreOrder holds the order of a score: each case tells it apart from
// another.
func TestScoreOrder(t *testing.T) {
	const big = 1 << 24 // big + 1 == big in float32
	for _, tt := range []struct {
		name string
		at   map[int]float32
		want float32
	}{
		{"same lane loses 1", map[int]float32{0: big, 16: 1, 32: -big}, 0},
		{"other lane keeps 1", map[int]float32{0: big, 17: 1, 16: -big}, 1},
		{"lanes 8 apart meet first", map[int]float32{0: big, 8: -big, 1: 1}, 1},
		{"then neighbours", map[int]float32{0: big, 1: -big, 2: 1, 4: 1}, 2},
		{"neighbours before halves", map[int]float32{0: big, 1: 1, 4: -big}, 0},
		{"then pairs", map[int]float32{0: big, 2: -big, 4: 1}, 1},
	} {
		for _, s := range All() {
			keys, q, got := make([]float32, 4*48), make([]float32, 48), make([]float32, 4)
			for i := range q {
				q[i] = 1
			}
			for k, v := range tt.at {
				keys[2*48+k] = v
			}
			s.Attention.F32.Scores(got, q, Bytes(keys), nil)
			if want := []float32{0, 0, tt.want, 0}; !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %v, want %v", s.Name, tt.name, got, want)
			}
		}
	}
}

// TestSoftmaxTwins runs a softmax over pages of random scores in every set.
func TestSoftmaxTwins(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, spread := range []float64{0, 1, 30, 1e4} {
		states := make([][3]float32, len(All()))
		for i := range states {
			states[i] = [3]float32{float32(math.Inf(-1))}
		}
		for n := 16; n <= 80; n += 16 {
			s := make([]float32, n)
			for i := range s {
				s[i] = float32(rng.NormFloat64() * spread)
				if i >= n-rng.IntN(15) {
					s[i] = float32(math.Inf(-1)) // as a page that is not full
				}
			}
			var want []float32
			for i, set := range All() {
				got := slices.Clone(s)
				set.Attention.Softmax(got, &states[i], 0.125)
				if i == 0 {
					want = got
				}
				if !slices.Equal(got, want) || states[i] != states[0] {
					t.Fatalf("%s, spread %v, page of %d: got state %v and weights %v, want %v and %v", set.Name, spread, n, states[i], got, states[0], want)
				}
			}
		}
	}
}

// A softmax over pages is the softmax of all scores.
func TestSoftmaxPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const pages, n, scale = 9, 64, 0.25
	scores := make([]float32, pages*n)
	for i := range scores {
		scores[i] = float32(rng.NormFloat64() * 12)
	}
	top, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		top = max(top, float64(v)*scale)
	}
	for _, v := range scores {
		sum += math.Exp(float64(v)*scale - top)
	}
	for _, set := range All() {
		state, s := [3]float32{float32(math.Inf(-1))}, slices.Clone(scores)
		for i := 0; i < len(s); i += n {
			before := state[1]
			set.Attention.Softmax(s[i:i+n], &state, scale)
			var page float64
			for _, v := range s[i : i+n] {
				page += float64(v)
			}
			if want := float64(before)*float64(state[2]) + page; math.Abs(float64(state[1])-want) > 1e-6*want {
				t.Errorf("%s, page %d: got sum %v, want %v", set.Name, i/n, state[1], want)
			}
		}
		if float64(state[0]) != top || math.Abs(float64(state[1])/sum-1) > 1e-6 {
			t.Errorf("%s: got largest %v, sum %v, want %v, %v", set.Name, state[0], state[1], top, sum)
		}
	}
}

// Scores that are no numbers make the sum NaN in every set.
func TestSoftmaxSpecials(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, set := range All() {
		for _, bad := range []float32{nan, -nan, inf, math.Float32frombits(0x7f800001)} {
			for at := range 32 {
				s, state := make([]float32, 32), [3]float32{float32(math.Inf(-1))}
				s[at] = bad
				set.Attention.Softmax(s, &state, 1)
				set.Attention.Softmax(make([]float32, 16), &state, 1)
				if state[1] == state[1] {
					t.Fatalf("%s, %v at %d: got sum %v, want NaN", set.Name, bad, at, state[1])
				}
			}
		}
		s, state := []float32{}, [3]float32{float32(math.Inf(-1))}
		for range 16 {
			s = append(s, -inf)
		}
		if set.Attention.Softmax(s, &state, 1); state[1] == state[1] {
			t.Errorf("%s, -Inf alone: got sum %v, want NaN", set.Name, state[1])
		}
	}
}

// TestExp holds the bound that exp32's documentation states.
func TestExp(t *testing.T) {
	if got := exp32(0); got != 1 {
		t.Errorf("exp(0): got %v, want 1", got)
	}
	for _, x := range []float32{-86.1, -1e30, float32(math.Inf(-1))} {
		if got := exp32(x); got != 0 {
			t.Errorf("exp(%v): got %v, want 0", x, got)
		}
	}
	worst, at := 0.0, float32(0)
	check := func(x float32) {
		want := math.Exp(float64(x))
		ulp := math.Ldexp(1, math.Ilogb(want)-23)
		if e := math.Abs(float64(exp32(x))-want) / ulp; e > worst {
			worst, at = e, x
		}
	}
	for x := float32(0); x >= -86; x -= 1.7e-4 {
		check(x)
	}
	for x := float32(-1e-30); x > -1; x *= 1.001 {
		check(x)
	}
	t.Logf("worst error %.3f ulp, at %v", worst, at)
	if worst > 1 {
		t.Errorf("exp(%v): off by %.3f units in the last place, want at most 1", at, worst)
	}
}
