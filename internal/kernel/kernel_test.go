package kernel

import (
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// newArenas returns one arena for each slice that compute places.
func newArenas(t testing.TB, n int) []*arena {
	arenas := make([]*arena, 6)
	for i := range arenas {
		arenas[i] = newArena(t, (4*n+64)*4)
	}
	return arenas
}

// TestAll names what this machine cannot test, so that no log reads as if it
// had been.
func TestAll(t *testing.T) {
	has := map[string]bool{}
	for _, s := range All() {
		has[s.Name] = true
		v := reflect.ValueOf(s)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("set %s: field %s is not set", s.Name, v.Type().Field(i).Name)
			}
		}
	}
	if All()[0].Name != "go" {
		t.Errorf("first set is %s, want go", All()[0].Name)
	}
	for _, name := range []string{"go", "avx2", "avx512", "avx512-wide"} {
		if !has[name] {
			t.Logf("NOT TESTED on this machine or build (%s/%s): the %s kernels", runtime.GOOS, runtime.GOARCH, name)
		}
	}
}

// TestBest holds the choice between the sets for AVX-512 to the vendor that the
// system names.
func TestBest(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	best := Best().Name
	if err != nil || !strings.HasPrefix(best, "avx512") {
		t.Logf("NOT TESTED on this machine or build: the choice between sets for AVX-512 (best is %s)", best)
		return
	}
	want := "avx512"
	if strings.Contains(string(info), "GenuineIntel") {
		want = "avx512-wide"
	}
	if best != want {
		t.Errorf("best set: got %s, want %s", best, want)
	}
}

// TestTwins compares every set with plain Go, bit for bit.
func TestTwins(t *testing.T) {
	var short []int
	for n := range 301 {
		short = append(short, n)
	}
	compareTwins(t, short)
	compareTwins(t, []int{511, 512, 777, 1024, 2048 + 13, 4096, 4096 + 63})
}

func compareTwins(t *testing.T, lengths []int) {
	arenas := newArenas(t, slices.Max(lengths))
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range lengths {
		for _, special := range []int{0, 500, 5} {
			gap, head := rng.IntN(4), rng.IntN(2) == 0
			if special == 0 {
				gap, head = 0, false // flush with the guard page
			}
			in := random(rng, n, n+rng.IntN(2), special)
			want := compute(t, Go(), in, arenas, gap, head)
			for _, s := range All()[1:] {
				report(t, s.Name, n, compute(t, s, in, arenas, gap, head), want)
			}
		}
	}
}

// TestAVX2Registers holds that the AVX2 assembly names no register beyond the
// sixteen that AVX2 has. A processor with AVX-512 would run it all the same.
func TestAVX2Registers(t *testing.T) {
	for _, name := range []string{"amd64/avx2_amd64.s", "amd64/quant_avx2_amd64.s", "amd64/attn_avx2_amd64.s"} {
		asm, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bad := regexp.MustCompile(`\b(Z\d+|[XY](1[6-9]|2\d|3[01])|K[0-7])\b`).Find(asm); bad != nil {
			t.Errorf("%s uses %s", name, bad)
		}
	}
}

// TestDot4IsDot compares the rows of Dot4 with Dot, bit for bit, at strides
// that overlap and that leave gaps.
func TestDot4IsDot(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, s := range All() {
		for n := range 301 {
			for _, stride := range []int{0, 1, n, n + 17} {
				in := random(rng, n, stride, 0)
				var want [3][4]float32
				for i := range 4 {
					x := in.x[i*stride:]
					want[0][i], want[1][i], want[2][i] = s.DotF32(in.w32, x, nil), s.DotF16(in.w16, x, nil), s.DotBF16(in.w16, x, nil)
				}
				got := [3][4]float32{s.Dot4F32(in.w32, in.x, stride, nil), s.Dot4F16(in.w16, in.x, stride, nil), s.Dot4BF16(in.w16, in.x, stride, nil)}
				if got != want {
					t.Fatalf("%s, n=%d, stride %d: Dot4 %v, Dot %v", s.Name, n, stride, got, want)
				}
			}
		}
	}
}

// TestDotError holds the error bound that the package documentation states.
func TestDotError(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range All() {
		for _, n := range []int{1, 15, 16, 17, 63, 64, 100, 1000, 4096, 11111} {
			in := random(rng, n, 0, 0)
			var exact, size float64
			for k, w := range in.w32 {
				exact += float64(w) * float64(in.x[k])
				size += math.Abs(float64(w) * float64(in.x[k]))
			}
			got := float64(s.DotF32(in.w32, in.x, nil))
			if bound := float64(n/64+23) * 0x1p-24 * size; math.Abs(got-exact) > bound {
				t.Errorf("%s, n=%d: DotF32 %v, exact %v: off by %g, want at most %g", s.Name, n, got, exact, got-exact, bound)
			}
		}
	}
}

// TestDotOrder holds the summation order: each case tells its lane apart from
// every other place where the sum could be formed.
func TestDotOrder(t *testing.T) {
	const big = 1 << 24 // big + 1 == big in float32
	w := func(n int, at map[int]float32) []float32 {
		v := make([]float32, n)
		for k, f := range at {
			v[k] = f
		}
		return v
	}
	tests := []struct {
		name string
		w    []float32
		want float32
	}{
		{"same lane loses 1", w(128, map[int]float32{0: big, 64: 1, 65: -big}), 0},
		{"other lane keeps 1", w(128, map[int]float32{0: big, 65: 1, 64: -big}), 1},
		{"halves meet first", w(64, map[int]float32{0: big, 32: -big, 16: 1}), 1},
		{"quarter meets before neighbour", w(64, map[int]float32{0: big, 16: 1, 1: -big}), 0},
		{"last lanes are neighbours", w(64, map[int]float32{0: big, 2: -big, 1: 1}), 1},
		{"group of 16 is a lane's", w(80, map[int]float32{0: big, 64: -big, 1: 1}), 1},
		{"rest comes last, in order", w(18, map[int]float32{0: big, 16: 1, 17: -big}), 0},
		{"rest after reduction", w(18, map[int]float32{0: big, 1: -big, 16: 1}), 1},
	}
	for _, s := range All() {
		for _, tt := range tests {
			ones := make([]float32, len(tt.w))
			for i := range ones {
				ones[i] = 1
			}
			if got := s.DotF32(tt.w, ones, nil); got != tt.want {
				t.Errorf("%s, %s: got %v, want %v", s.Name, tt.name, got, tt.want)
			}
		}
	}
}

// TestSpecials holds what special values must give, whatever the twin says.
func TestSpecials(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tests := []struct{ w, x, want float32 }{
		{inf, 1, inf}, {inf, -1, -inf}, {inf, 0, nan}, {nan, 1, nan}, {1, nan, nan},
		{math.MaxFloat32, 2, inf}, {math.SmallestNonzeroFloat32, 1, math.SmallestNonzeroFloat32},
		{math.SmallestNonzeroFloat32, 0.5, 0}, {0x1p-126, 0.5, 0x1p-127},
	}
	for _, s := range All() {
		for _, tt := range tests {
			for _, n := range []int{1, 16, 64, 65, 130} {
				for k := range n {
					w, x, y := make([]float32, n), make([]float32, 4*n), make([]float32, n)
					w[k] = tt.w
					for i := range 4 {
						x[i*n+k] = tt.x
					}
					s.AxpyF32(y, tt.x, w[k:k+1], nil)
					four := s.Dot4F32(w, x, n, nil)
					for _, got := range append(four[:], s.DotF32(w, x, nil), y[0]) {
						if got != tt.want && (got == got || tt.want == tt.want) {
							t.Fatalf("%s, %v*%v at %d of %d: got %v, want %v", s.Name, tt.w, tt.x, k, n, got, tt.want)
						}
					}
				}
			}
		}
	}
}

// TestNoAllocation holds that a kernel called through a Set allocates nothing.
func TestNoAllocation(t *testing.T) {
	in := random(rand.New(rand.NewPCG(7, 8)), 256, 256, 0)
	q := make([]int8, 256)
	for _, s := range All() {
		if n := testing.AllocsPerRun(10, func() {
			s.DotF16(in.w16, in.x, &in.w16[0])
			s.Dot4BF16(in.w16, in.x, in.stride, nil)
			s.AxpyF16(in.y, in.a, in.w16, nil)
			s.DotU4S8(in.u4, in.s8)
			s.QuantizeS8(q, in.x[:256])
			s.Load(in.u4)
			s.LoadNext(in.u4, &in.u4[0])
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, n)
		}
	}
}

// FuzzTwins compares every set with plain Go on raw bits.
func FuzzTwins(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add(make([]byte, 16*64), uint8(1))
	pattern := make([]byte, 16*99)
	for i := range pattern {
		pattern[i] = byte(i * 37)
	}
	f.Add(pattern, uint8(5))
	const most = 16 * 1024
	arenas := newArenas(f, most/16+8)
	f.Fuzz(func(t *testing.T, raw []byte, at uint8) {
		if len(raw) > most {
			return
		}
		in := fromBytes(raw)
		gap, head := int(at%4), at&4 != 0
		want := compute(t, Go(), in, arenas, gap, head)
		for _, s := range All()[1:] {
			report(t, s.Name, len(in.w32), compute(t, s, in, arenas, gap, head), want)
		}
	})
}
