package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestAttentionIsWhole(t *testing.T) {
	for _, s := range All() {
		v := reflect.ValueOf(s.Attention)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("set %s: kernel %s is not set", s.Name, v.Type().Field(i).Name)
			}
		}
	}
}

// paged is the input of the attention kernels: n keys or values of headDim
// elements.
type paged struct {
	headDim, n int
	q          []float32 // [4, headDim]
	p          []float32 // [4, stride]
	stride     int
	w32        []float32 // [n, headDim]
	w16        []uint16
	w8         []byte // q8_0, empty where headDim is no multiple of 32
}

// randomPage makes a page; one element in every special is one of the
// specials, none where special is 0.
func randomPage(rng *rand.Rand, headDim, n, special int) paged {
	in := random(rng, headDim*n, headDim, special)
	page := paged{headDim: headDim, n: n, w32: in.w32, w16: in.w16, stride: n + rng.IntN(3)}
	page.q = random(rng, 4*headDim, 0, special).w32
	page.p = random(rng, 4*page.stride, 0, special).w32
	if headDim%32 == 0 {
		page.w8 = make([]byte, n*headDim/32*q8Bytes)
		for i := range page.w8 {
			page.w8[i] = byte(rng.Uint32())
			if i%q8Bytes == 1 && special == 0 {
				page.w8[i] = 0x20 + byte(rng.IntN(8)) // scales of 2^-7 or so
			}
		}
	}
	return page
}

// attend runs every kernel of s over in; each slice ends at a guard page.
func attend(t *testing.T, s *Attention, in paged, arenas []*arena) []outputs {
	t.Helper()
	hd, n := in.headDim, in.n
	w32, w16, w8 := place(arenas[0], in.w32, 0, false), place(arenas[1], in.w16, 0, false), place(arenas[2], in.w8, 0, false)
	q, p := place(arenas[3], in.q, 0, false), place(arenas[4], in.p, 0, false)
	var out []outputs
	run := func(name string, init []float32, f func(out []float32)) {
		o := guard(arenas[5], init, 0, false)
		f(o)
		out = append(out, outputs{name, floatBits(o)})
		checkGuard(t, name, arenas[5], o)
	}
	c := []float32{0.5, 1, -2, 0.3}
	if n%4 == 0 {
		blank := make([]float32, n)
		run("ScoresF32", blank, func(o []float32) { s.ScoresF32(o, q[:hd], w32, nil) })
		run("ScoresF16", blank, func(o []float32) { s.ScoresF16(o, q[:hd], w16, nil) })
	}
	run("Scores4", in.p, func(o []float32) { s.Scores4(o, in.stride, n, q, w32) })
	run("ValuesF32", in.q[:hd], func(o []float32) { s.ValuesF32(o, c[0], p[:n], w32, nil) })
	run("ValuesF16", in.q[:hd], func(o []float32) { s.ValuesF16(o, c[0], p[:n], w16, nil) })
	run("Values4", in.q, func(o []float32) { s.Values4(o, c, p, in.stride, n, w32) })
	if len(in.w8) > 0 {
		if n%4 == 0 {
			run("ScoresQ8", make([]float32, n), func(o []float32) { s.ScoresQ8(o, q[:hd], w8, nil) })
		}
		run("ValuesQ8", in.q[:hd], func(o []float32) { s.ValuesQ8(o, c[0], p[:n], w8, nil) })
	}
	return out
}

// TestAttentionTwins compares every set with plain Go, bit for bit.
func TestAttentionTwins(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	arenas := newArenas(t, 64*256)
	for _, hd := range []int{16, 32, 48, 64, 80, 96, 112, 128, 160, 256} {
		for n := range 65 {
			if n > 9 && n%7 != 0 && n < 60 {
				continue
			}
			for _, special := range []int{0, 300} {
				in := randomPage(rng, hd, n, special)
				want := attend(t, &All()[0].Attention, in, arenas)
				for _, s := range All()[1:] {
					report(t, fmt.Sprintf("%s, head dim %d", s.Name, hd), n, attend(t, &s.Attention, in, arenas), want)
				}
			}
		}
	}
}

// Whatever type keys and values are stored as and however many queries share
// them, results are those of their float32 elements, taken one by one.
func TestAttentionTypesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const hd, n = 96, 36
	in := randomPage(rng, hd, n, 0)
	halves, eighths := make([]float32, hd*n), make([]float32, hd*n)
	decodeF16(halves, in.w16)
	decodeQ8(eighths, in.w8)
	for _, set := range All() {
		s := &set.Attention
		for name, c := range map[string]struct {
			wide   []float32
			scores func(o []float32)
			values func(y []float32)
		}{
			"f16": {halves, func(o []float32) { s.ScoresF16(o, in.q[:hd], in.w16, nil) }, func(y []float32) { s.ValuesF16(y, 0.5, in.p[:n], in.w16, nil) }},
			"q8":  {eighths, func(o []float32) { s.ScoresQ8(o, in.q[:hd], in.w8, nil) }, func(y []float32) { s.ValuesQ8(y, 0.5, in.p[:n], in.w8, nil) }},
		} {
			got, want, four := make([]float32, n), make([]float32, n), make([]float32, 4*n)
			c.scores(got)
			s.ScoresF32(want, in.q[:hd], c.wide, nil)
			s.Scores4(four, n, n, in.q, c.wide)
			if !slices.Equal(got, want) || !slices.Equal(four[:n], want) {
				t.Errorf("%s, %s: scores differ from those of the same keys in float32", set.Name, name)
			}
			y := slices.Clone(in.q)
			y1, y4 := slices.Clone(in.q[:hd]), slices.Clone(in.q)
			c.values(y[:hd])
			s.ValuesF32(y1, 0.5, in.p[:n], c.wide, nil)
			s.Values4(y4, []float32{0.5, 0.5, 0.5, 0.5}, in.p, in.stride, n, c.wide)
			if !slices.Equal(y[:hd], y1) || !slices.Equal(y4[:hd], y1) {
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
			s.Attention.ScoresF32(got, q, keys, nil)
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
