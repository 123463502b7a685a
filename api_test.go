package sparseflow_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow"
)

// What follows uses every exported name, field and method, as programs do that
// were written against the first edition: it has to compile.

var (
	_ sparseflow.ActivationPredictor = everyOther{}
	_ sparseflow.EvictionPolicy      = (*fifo)(nil)
	_ error                          = (*sparseflow.BudgetError)(nil)
	_ error                          = sparseflow.ErrNoTokenizer
)

var _ = []sparseflow.Mode{sparseflow.Auto, sparseflow.Dense, sparseflow.Gate, sparseflow.Predicted, "dense"}

var _ = []sparseflow.IOMode{sparseflow.IODirect, sparseflow.IOMmap}

var _ = []sparseflow.DType{sparseflow.F32, sparseflow.F16, sparseflow.Q8_0}

var _ = []sparseflow.FinishReason{sparseflow.FinishStop, sparseflow.FinishLength}

var _ = []sparseflow.Floor{sparseflow.FloorPerplexity, sparseflow.FloorRecall}

var _ = []float64{sparseflow.LeastRecall, sparseflow.MostError}

var _ = sparseflow.SparseFlowConfig{
	Profile: sparseflow.ModelProfile{
		Family: "opt", VocabSize: 1, EmbedDim: 1, HiddenSize: 1, Layers: 1, Heads: 1, KVHeads: 1, FFN: 1, NeuronParts: 2,
		LearnedPositions: true, MaxPositions: 1, PositionOffset: 2, Activation: "relu", Norm: "layernorm", NormEps: 1e-5, NormAffine: true, PreNorm: true,
		FinalNorm: true, Bias: true, TiedHead: true, BOS: 2, PAD: 1, EOS: []int32{2}, Synthetic: false,
	},
	Strategy: sparseflow.OffloadStrategy{
		GPUCacheRatio: sparseflow.Ratio(0.3), Budget: sparseflow.Budget{Share: 0.58, Bytes: 0}, UseLRUEviction: true, Policy: "lfu",
		AsyncTransfer: true, Quality: 0.005, Mode: sparseflow.Dense, Predictor: "sketch", IO: sparseflow.IODirect,
		KV: sparseflow.F16, Context: 128, Threads: 2,
	},
}

func useValues(p sparseflow.ModelProfile, s sparseflow.OffloadStrategy, b sparseflow.Budget, d sparseflow.DType) {
	_, _, _, _, _, _ = p.HeadDim(), p.KVDim(), p.Neurons(), p.Sparse(), p.IsEOS(1), p.Validate()
	_, _, _ = p.BundleBytes(d), p.Activation.Sparse(), p.Activation.Validate()
	_, _, _, _ = s.Validate(), b.IsZero(), b.String(), b.Validate()
	_, _, _, _, _ = d.String(), d.Valid(), d.Quantised(), d.RowBytes(32), d.OfRow(33)
}

func useCounters(c sparseflow.Counters) {
	_, _, _, _, _ = c.FastBytes+c.SlowBytes, c.Reads, c.Wanted+c.Misses, c.Early+c.Wasted, c.Computed+c.Active+c.Passes
	_, _, _ = c.Sampled+c.Found, c.Stall+c.Predict+c.Loading, c.Lowered+c.Exact
	_, _ = c.HitRate(), c.ComputedShare()
	_, _ = c.Recall()
}

func useStats(s sparseflow.Stats) {
	_, _, _, _ = s.PromptTokens, s.Tokens, s.Prefill+s.Decode+time.Second, s.TokensPerSecond()
	_, _, _ = s.HitRate(), s.Decoding.HitRate(), s.Counters.Misses+s.Misses
	useCounters(s.Decoding)
}

func usePlacement(p *sparseflow.Placement) {
	_, _, _, _, _, _ = p.Mode == sparseflow.Dense, p.Auto, p.Chosen, p.Context, p.Chunk, p.Threads
	_, _, _, _, _ = p.Resident["x"], p.Streamed, p.Predicted, p.Slots, p.RingSlots
	_, _, _ = p.KVBytes+p.BlockBytes+p.MemoryBytes+p.LoadBytes, p.Fits, p.Notices
	_, _, _ = p.Share.TotalBytes, p.Process.BudgetBytes, p.Process.MinimumBytes
	for _, t := range p.Tiers {
		for _, it := range t.Items {
			_, _, _, _ = t.Name, t.Bytes, it.What, it.Bytes
		}
	}
	t := p.Token
	_ = t.FastBytes + t.NeuronBytes + t.CompleteBytes + t.SlowBytes + t.StreamedBytes
}

func useCalibration(c *sparseflow.Calibration) {
	_, _, _, _ = c.Floor == sparseflow.FloorRecall, c.DType, c.Text, c.Tokens
	_ = c.Uses("lowrank")
	for _, l := range c.Layers {
		_, _, _, _, _, _ = l.Kind == "gate", l.Codes.Bits, l.Codes.Rows, l.Slope, l.Offset, l.Sigma
		_ = l.Norm
		l.Bias(nil, 1)
	}
	p, _ := c.Choose(0.005)
	p = c.Points[0]
	_ = p.MinEnergy + p.PPLChange + p.KL + p.Recall + p.RecallWeighted + p.MLPError + p.Active + p.Computed
	_, _, _, _ = p.ByRecall(), p.Cost(), p.HoldsRecall(), p.LayerEnergy(0)
	_ = p.Layers[0].MinEnergy + p.Layers[0].RecallWeighted + p.Layers[0].MLPError
}

func useEvaluation(r *sparseflow.Evaluation) {
	_, _ = r.Tokens+r.DecodedTokens, r.PPLDense+r.PPL+r.KL+r.Change()
	useCounters(r.Decoding)
	a := r.All
	a.Add(r.Layers[0])
	_, _ = a.Tokens+a.Neurons+a.Active+a.Computed+a.Found, a.ActiveWeight+a.FoundWeight+a.Error+a.Output
	_ = a.Recall() + a.RecallWeighted() + a.Precision() + a.ActiveShare() + a.ComputedShare() + a.OutputError()
}

func useTokenizer(t *sparseflow.Tokenizer) {
	ids := t.Encode("Once", t.AddsBOS())
	_, _ = t.Decode(ids, true), t.DecodeBytes(ids, true)
	_, _ = t.Token(1)
	_, _ = t.BOS()
	_, _ = t.EOS()
	_, _ = t.Pad()
	_, _ = t.Unk()
	_, _ = t.IsSpecial(1), t.VocabSize()
	d := t.NewDecoder()
	d.SkipSpecial = true
	_ = d.Push(1) + d.Flush()
}

func useEngine(ctx context.Context) error {
	config, err := sparseflow.FromTransformersConfig(nil, sparseflow.DefaultStrategy())
	budget, _ := sparseflow.ParseBudget("58%")
	_, _ = sparseflow.ParseSimDisk("57kiops")
	sim := sparseflow.SimDisk{IOPS: 1, BytesPerSecond: 1, Latency: time.Millisecond}
	_, _, _ = budget, sim.String(), sim.Speed().IOPS+sim.Speed().BytesPerSecond
	options := []sparseflow.Option{
		sparseflow.WithStrategy(config.Strategy), sparseflow.WithConfig(config), sparseflow.WithPredictor(everyOther{}, 2),
		sparseflow.WithEvictionPolicy(func(layer, slots int) sparseflow.EvictionPolicy { return &fifo{} }),
		sparseflow.WithSimDisk(sim), sparseflow.WithCacheDir(""), sparseflow.WithProgress(func(what string, done, total int64) {}),
		sparseflow.WithEarlyOpen(), sparseflow.WithNotices(func(string) {}), sparseflow.WithPlacement(usePlacement),
	}
	var small *sparseflow.BudgetError
	if errors.As(err, &small) {
		_ = small.What + small.Got + small.Minimum + small.Advice + small.Error()
	}
	eng, err := sparseflow.Open(ctx, "tiny", options...)
	if err != nil {
		return err
	}
	place, _ := sparseflow.Plan("tiny", options...)
	usePlacement(place)
	calibration, path, _ := sparseflow.Train(ctx, "tiny", sparseflow.Training{
		Text: "", Name: "", Output: "", Floor: sparseflow.FloorRecall, Seed: 1, Time: time.Minute, Bits: 3, Rank: 16}, options...)
	useCalibration(calibration)
	tok, _ := sparseflow.LoadTokenizer(path)
	useTokenizer(tok)
	useTokenizer(eng.Tokenizer())
	useValues(eng.Profile(), config.Strategy, budget, sparseflow.F32)
	usePlacement(eng.Placement())
	if c := eng.Choice(); c != nil {
		_, _, _, _ = c.Modes+c.Prompts+c.Summary()+c.String(), c.Measured, c.Predicted+c.Gate+c.Dense, c.Exact()
	}
	_, _ = eng.Point().Cost(), eng.BundleBytes()
	_, _ = eng.Tokenize("Once")
	ids, _ := eng.TokenizePlain("Once")
	r := sparseflow.Request{
		Prompt: "Once", IDs: ids, MaxTokens: 1, Stop: []string{"."}, IgnoreEOS: true, OnText: func(string) {}, OnToken: func(id int32) {},
		Sampling: sparseflow.Sampling{Temperature: 1, TopK: 1, TopP: 1, MinP: 0, RepetitionPenalty: 1, Seed: 1},
	}
	_, _ = r.Sampling.Greedy(), r.Sampling.Validate()
	res, _ := eng.Generate(ctx, r)
	_, _, _, _ = res.PromptIDs, res.IDs, res.Text, res.Finish == sparseflow.FinishStop
	useStats(res.Stats)
	score, _ := eng.Score(ctx, ids)
	_, _, _ = score.IDs, score.Logprobs, score.Logits
	useStats(score.Stats)
	rep, _ := eng.Evaluate(ctx, ids, sparseflow.EvaluateOptions{Window: 1, Stride: 1, Exact: &sparseflow.ExactPass{}, Progress: func(done, total int64) {}})
	useEvaluation(rep)
	return eng.Close()
}

var _ = useEngine

// The error of a small budget has what was found and what would do apart, and
// the message of all that it went through.
func TestBudgetError(t *testing.T) {
	s := sparseflow.DefaultStrategy()
	s.Budget = sparseflow.Budget{Bytes: 1 << 20}
	cache := sparseflow.WithCacheDir(t.TempDir())
	_, planned := sparseflow.Plan("tiny", sparseflow.WithStrategy(s), cache)
	_, opened := sparseflow.Open(t.Context(), "tiny", sparseflow.WithStrategy(s), cache)
	_, _, trained := sparseflow.Train(t.Context(), "tiny", sparseflow.Training{Text: "x"}, sparseflow.WithStrategy(s), cache)
	for name, err := range map[string]error{"plan": planned, "open": opened, "train": trained} {
		var small *sparseflow.BudgetError
		if !errors.As(err, &small) || small.What == "" || small.Got == "" || small.Minimum == "" || small.Advice == "" {
			t.Errorf("%s: got %+v, want a BudgetError with all its fields", name, err)
			continue
		}
		if small.Error() != err.Error() {
			t.Errorf("%s: got message %q, want %q", name, small.Error(), err.Error())
		}
	}
	alone := &sparseflow.BudgetError{What: "budget", Got: "1 MB", Minimum: "2 MB", Advice: "raise it"}
	if got, want := alone.Error(), "placement: budget: got 1 MB, want at least 2 MB; raise it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The exact pass is kept for the next evaluation, which finds the same.
func TestExactPass(t *testing.T) {
	eng, err := sparseflow.Open(t.Context(), "tiny", sparseflow.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ids, err := eng.TokenizePlain("Once upon a time there was a man who had a dog and a cat.")
	if err != nil {
		t.Fatal(err)
	}
	o := sparseflow.EvaluateOptions{Window: 8, Exact: &sparseflow.ExactPass{}}
	told := int64(0)
	o.Progress = func(done, total int64) { told = total }
	first, err := eng.Evaluate(t.Context(), ids, o)
	if err != nil {
		t.Fatal(err)
	}
	if told != int64(len(ids)) || reflect.ValueOf(*o.Exact).IsZero() || len(first.Layers) != eng.Profile().Layers {
		t.Errorf("got %d tokens told, exact pass %v, %d layers, want %d, one that is kept, and %d", told, o.Exact, len(first.Layers), len(ids), eng.Profile().Layers)
	}
	if again, err := eng.Evaluate(t.Context(), ids, o); err != nil || again.PPLDense != first.PPLDense || again.PPL != first.PPL {
		t.Errorf("got %+v, %v, want %+v again", again, err, first)
	}
}
