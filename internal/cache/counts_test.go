package cache

import (
	"bytes"
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/sidecar"
)

func TestCountsSection(t *testing.T) {
	c := &Counts{Tokens: 300, Neurons: [][]uint32{{1, 2, 258}, {4, 5, 6}}}
	s, err := c.Section()
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0}
	x := s.Tensors["counts"]
	if string(s.JSON) != `{"tokens":300}` || x.DType != "U32" || !slices.Equal(x.Shape, []int64{2, 3}) || !bytes.Equal(x.Data, want) {
		t.Errorf("got %s, %+v, want 300 tokens and U32 [2, 3] % x", s.JSON, x, want)
	}
	got, err := ReadCounts(s, 2, 3)
	if err != nil || got.Tokens != 300 || !slices.EqualFunc(got.Neurons, c.Neurons, slices.Equal[[]uint32]) {
		t.Errorf("read back: got %+v, %v, want %+v", got, err, c)
	}
	if hot := got.Hottest(0); !slices.Equal(hot, []int32{2, 1, 0}) {
		t.Errorf("hottest: got %v, want 2, 1, 0", hot)
	}
	for name, c := range map[string]struct {
		layers, ffn int
		change      func(*sidecar.Section)
		want        string
	}{
		"layers":    {3, 3, func(*sidecar.Section) {}, "want U32 [3 3]"},
		"neurons":   {2, 4, func(*sidecar.Section) {}, "want U32 [2 4]"},
		"no JSON":   {2, 3, func(s *sidecar.Section) { s.JSON = []byte("[1]") }, "counts"},
		"no tokens": {2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"tokens":0}`) }, "got 0 tokens"},
		"too many":  {2, 3, func(s *sidecar.Section) { s.JSON = []byte(`{"tokens":257}`) }, "neuron 2 of layer 0: got 258 of 257"},
		"no tensor": {2, 3, func(s *sidecar.Section) { s.Tensors = nil }, "want U32"},
		"cut": {2, 3, func(s *sidecar.Section) {
			s.Tensors = map[string]sidecar.Tensor{"counts": {DType: "U32", Shape: []int64{2, 3}, Data: want[:20]}}
		}, "want U32"},
	} {
		bad := s
		c.change(&bad)
		if _, err := ReadCounts(bad, c.layers, c.ffn); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
}

func TestCountsObserve(t *testing.T) {
	c := NewCounts(2, 4)
	c.Observe(1, 3, []int32{0, 3}, []float32{0, 1, 2, 0, 0, 0.5})
	c.Observe(1, 2, []int32{3}, []float32{1, 1})
	if !slices.Equal(c.Neurons[1], []uint32{2, 0, 0, 3}) || !slices.Equal(c.Neurons[0], make([]uint32, 4)) {
		t.Errorf("got %v, want 2 of neuron 0 and 3 of neuron 3 in layer 1", c.Neurons)
	}
}

// The order is that of a stable sort, however large the counts.
func TestHottest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]uint32{0, 3, 1<<11 - 1, 1 << 11, 1 << 22, math.MaxUint32}).Draw(t, "most")
		counts := rapid.SliceOf(rapid.Uint32Range(0, most)).Draw(t, "counts")
		want := make([]int32, len(counts))
		for i := range want {
			want[i] = int32(i)
		}
		slices.SortStableFunc(want, func(a, b int32) int { return cmp.Compare(counts[b], counts[a]) })
		if got := Hottest(counts); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func BenchmarkHottest(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	counts := make([]uint32, 16384)
	for i := range counts {
		counts[i] = uint32(8000 * math.Pow(r.Float64(), 4))
	}
	for b.Loop() {
		Hottest(counts)
	}
}
