package config

import (
	"math"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

func TestStrategyValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*OffloadStrategy)
		want   string // the error, "" for none
	}{
		{func(*OffloadStrategy) {}, ""},
		{func(s *OffloadStrategy) { *s = OffloadStrategy{} }, ""},
		{func(s *OffloadStrategy) { s.GPUCacheRatio = Ratio(0) }, ""},
		{func(s *OffloadStrategy) { s.GPUCacheRatio = Ratio(1) }, ""},
		{func(s *OffloadStrategy) { s.GPUCacheRatio = Ratio(1.01) }, "config: gpu-cache-ratio: got 1.01, want 0 to 1"},
		{func(s *OffloadStrategy) { s.GPUCacheRatio = Ratio(-0.1) }, "config: gpu-cache-ratio: got -0.1, want 0 to 1"},
		{func(s *OffloadStrategy) { s.GPUCacheRatio = Ratio(math.NaN()) }, "config: gpu-cache-ratio: got NaN, want 0 to 1"},
		{func(s *OffloadStrategy) { s.Mode = Gate }, ""},
		{func(s *OffloadStrategy) { s.Mode = "fast" }, `config: mode: got "fast", want auto, dense, gate or predicted`},
		{func(s *OffloadStrategy) { s.IO = IOMmap }, ""},
		{func(s *OffloadStrategy) { s.IO = "mapped" }, `config: io: got "mapped", want direct or mmap`},
		{func(s *OffloadStrategy) { s.KV = tensor.F16 }, ""},
		{func(s *OffloadStrategy) { s.KV = tensor.Q8_0 }, ""},
		{func(s *OffloadStrategy) { s.KV = tensor.BF16 }, "config: kv: got BF16, want f32, f16 or q8_0"},
		{func(s *OffloadStrategy) { s.KV = 77 }, "config: kv: got DType(77), want f32, f16 or q8_0"},
		{func(s *OffloadStrategy) { s.Context = -1 }, "config: ctx: got -1, want 1 or more"},
		{func(s *OffloadStrategy) { s.Threads = 1024 }, ""},
		{func(s *OffloadStrategy) { s.Threads = 1025 }, "config: threads: got 1025, want 1 to 1024"},
		{func(s *OffloadStrategy) { s.Threads = -1 }, "config: threads: got -1, want 1 to 1024"},
		{func(s *OffloadStrategy) { s.Budget.Share = 0.58 }, ""},
		{func(s *OffloadStrategy) { s.Budget.Bytes = 1 << 30 }, ""},
		{func(s *OffloadStrategy) { s.Budget = Budget{Share: math.NaN()} }, "config: budget: got a share of NaN and 0 bytes, want one of them, above zero"},
		{func(s *OffloadStrategy) { s.Budget = Budget{Share: -1} }, "config: budget: got a share of -1 and 0 bytes, want one of them, above zero"},
		{func(s *OffloadStrategy) { s.Budget = Budget{Share: math.Inf(1)} }, "config: budget: got a share of +Inf and 0 bytes, want one of them, above zero"},
		{func(s *OffloadStrategy) { s.Budget = Budget{Bytes: -1} }, "config: budget: got a share of 0 and -1 bytes, want one of them, above zero"},
		{func(s *OffloadStrategy) { s.Budget = Budget{Share: 0.5, Bytes: 9} }, "config: budget: got a share of 0.5 and 9 bytes, want one of them, above zero"},
	} {
		s := DefaultStrategy()
		c.change(&s)
		got := ""
		if err := s.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v:\n got %q\nwant %q", s, got, c.want)
		}
	}
}

func TestProfileValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*ModelProfile)
		want   string // a part of the error, "" for none
	}{
		{func(*ModelProfile) {}, ""},
		{func(p *ModelProfile) { p.KVHeads = 2 }, ""},
		{func(p *ModelProfile) { p.KVHeads = 3 }, "got 3 kv heads"},
		{func(p *ModelProfile) { p.KVHeads = 0 }, "got kv_heads 0"},
		{func(p *ModelProfile) { p.NeuronParts = 3 }, ""},
		{func(p *ModelProfile) { p.NeuronParts = 1 }, "got neuron_parts 1"},
		{func(p *ModelProfile) { p.PositionOffset = -1 }, "got position_offset -1"},
		{func(p *ModelProfile) { p.Norm = RMSNorm }, ""},
		{func(p *ModelProfile) { p.Norm = "" }, `got norm ""`},
		{func(p *ModelProfile) { p.NormEps = 0 }, ""},
		{func(p *ModelProfile) { p.NormEps = 1 }, "got norm_eps 1"},
		{func(p *ModelProfile) { p.NormEps = float32(math.NaN()) }, "got norm_eps NaN"},
		{func(p *ModelProfile) { p.Activation = "" }, `got activation ""`},
		{func(p *ModelProfile) { p.EOS = []int32{-1} }, ""},
		{func(p *ModelProfile) { p.EOS = []int32{2, 64} }, "got special token id 64"},
		{func(p *ModelProfile) { p.BOS = math.MinInt32 }, "got special token id -2147483648"},
	} {
		p := smallProfile()
		c.change(&p)
		err := p.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: got error %v", p, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "config: profile: "+c.want+", want ")):
			t.Errorf("%+v: got error %v, want %q", p, err, c.want)
		}
	}
}

func TestProfileMethods(t *testing.T) {
	p := smallProfile()
	p.KVHeads, p.EOS = 2, []int32{5, 9}
	if p.HeadDim() != 12 || p.KVDim() != 24 || p.Neurons() != 192 || p.BundleBytes(tensor.F32) != 384 {
		t.Errorf("got head dim %d, kv dim %d, %d neurons, bundles of %d bytes", p.HeadDim(), p.KVDim(), p.Neurons(), p.BundleBytes(tensor.F32))
	}
	for id, want := range map[int32]bool{5: true, 9: true, 2: false, -1: false} {
		if p.IsEOS(id) != want {
			t.Errorf("IsEOS(%d): got %v", id, !want)
		}
	}
	for a, want := range map[Activation]bool{ReLU: true, GELU: false, SiLU: false} {
		p.Activation = a
		if p.Sparse() != want {
			t.Errorf("Sparse with %s: got %v", a, !want)
		}
	}
}

// smallProfile is a model of a few numbers.
func smallProfile() ModelProfile {
	return ModelProfile{
		Family: "opt", VocabSize: 64, EmbedDim: 48, HiddenSize: 48, Layers: 2, Heads: 4, KVHeads: 4,
		FFN: 96, NeuronParts: 2, MaxPositions: 32, LearnedPositions: true, PositionOffset: 2, Activation: ReLU,
		Norm: LayerNorm, NormEps: 1e-5, NormAffine: true, PreNorm: true, FinalNorm: true, Bias: true,
		TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2},
	}
}
