package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// modelFlags are the flags of every verb that opens a model.
type modelFlags struct {
	sparseflow.OffloadStrategy // but for KV
	toolFlags
	kv      string
	device  string
	seed    uint64
	stats   bool
	simDisk *sparseflow.SimDisk
	tok     *sparseflow.Tokenizer // of the model, where it was needed before; nil: it was not
}

// add declares the flags for cmd, whose mode is the given one unless the user
// says otherwise.
func (m *modelFlags) add(cmd *cobra.Command, mode sparseflow.Mode) {
	fs := newGroup(modelFlagsTitle)
	m.OffloadStrategy = sparseflow.DefaultStrategy()
	m.Mode, m.device, m.kv = mode, "auto", strings.ToLower(m.KV.String())
	fs.Var(budget(&m.Budget), "budget", "fast memory: a share of the weights (58%) or a size for the whole process (4GB, 4GiB); default: all weights, or 80 % of free memory if that is less")
	fs.Var(ratio(&m.GPUCacheRatio), "gpu-cache-ratio", "share of MLP neurons kept in fast memory, 0 to 1; without --budget the budget is what that needs")
	fs.Var(enum{(*string)(&m.Mode), []string{"auto", "dense", "gate", "predicted"}}, "mode", "which neurons are computed: all (dense, exact), the active ones (gate, exact), the predicted ones, or what is fastest")
	fs.Var(enum{&m.Predictor, engine.Predictors()}, "predictor", "who predicts; oracle knows the truth and is for comparison; naming one means --mode predicted unless --mode says otherwise")
	fs.Var(percentage(&m.Quality), "quality", "largest rise of perplexity that a calibrated predictor may cost; default: 0.5%")
	fs.Var(enum{&m.Policy, cache.PolicyNames()}, "policy", "which neuron gives way to a missing one: the least often used (lfu), the least recently (lru), or none (frozen); default: lfu, or frozen without --use-lru-eviction")
	fs.BoolVar(&m.UseLRUEviction, "use-lru-eviction", m.UseLRUEviction, "missing neurons take the place of others, as --policy says; if false, the hottest neurons stay for good")
	fs.BoolVar(&m.AsyncTransfer, "async-transfer", m.AsyncTransfer, "read missing neurons while attention computes")
	fs.Var(enum{(*string)(&m.IO), []string{"direct", "mmap"}}, "io", "read the pack past the page cache, or map it")
	fs.Var(device(&m.device), "device", "what computes")
	fs.Var(enum{&m.kv, []string{"f32", "f16", "q8_0"}}, "kv", "element type of the KV cache")
	fs.Var(enum{&m.Activations, []string{config.Q8Activations, config.F32Activations}}, "activations", "what activations are rounded to before they are multiplied with quantised weights: 8 bits, or nothing (f32, exact, several times slower)")
	fs.IntVar(&m.Context, "ctx", 0, "longest text in `tokens`, prompt included; default: what run is asked for, elsewhere the model's own limit, at most 2048")
	fs.IntVar(&m.Threads, "threads", 0, "compute threads; default: one for each processor that may be used")
	m.declare(fs, true)
	addGroup(cmd, fs)
}

// addRun declares the flags of those verbs that compute something.
func (m *modelFlags) addRun(cmd *cobra.Command) {
	fs := newGroup(modelFlagsTitle)
	fs.Uint64Var(&m.seed, "seed", 0, "`number` that sampling's random draws start from; default: another each time, which --stats and --json tell")
	m.addSimDisk(fs)
	fs.BoolVar(&m.stats, "stats", false, "print a table of what it took to standard error")
	addGroup(cmd, fs)
}

func (m *modelFlags) addSimDisk(fs *pflag.FlagSet) {
	fs.Var(simDisk(&m.simDisk), "sim-disk", "for measuring: read the pack from a simulated disk, such as 57kiops,0.95GB/s,100us, whose bytes are in the page cache, outside the budget")
}

// toolFlags are the flags of every verb, cacheDir of those that look for models.
type toolFlags struct {
	cacheDir string
	config   string
	json     bool
}

// addTo declares the flags for a verb that runs no model.
func (t *toolFlags) addTo(cmd *cobra.Command, cacheDir bool) {
	fs := newGroup("Flags:")
	t.declare(fs, cacheDir)
	addGroup(cmd, fs)
}

func (t *toolFlags) declare(fs *pflag.FlagSet, cacheDir bool) {
	if cacheDir {
		fs.StringVar(&t.cacheDir, "cache-dir", "", "`directory` of packs made from checkpoints; default: sparseflow in $XDG_CACHE_HOME or ~/.cache")
	}
	fs.StringVar(&t.config, "config", "", "TOML `file` that sets flags by their names")
	fs.BoolVar(&t.json, "json", false, "print JSON to standard output, and nothing else there")
}

// quantFlags are the element types that weights are stored in.
type quantFlags struct{ quant, attn, mlp string }

// add declares the flags. keep is what no change of the types means.
// more are values that --quant takes beside those of packs.
func (q *quantFlags) add(fs *pflag.FlagSet, keep string, more ...string) {
	q.quant = string(convert.Keep)
	fs.Var(enum{&q.quant, append(convert.Quants(), more...)}, "quant", "element type of the weights, or a mix of types such as q4_k_m; keep: "+keep)
	fs.Var(enum{&q.attn, convert.Quants()}, "quant-attn", "the same for attention, embeddings and head alone")
	fs.Var(enum{&q.mlp, convert.Quants()}, "quant-mlp", "the same for MLP neurons alone")
}

// options are the flags as package convert takes them.
func (q *quantFlags) options() convert.Options {
	return convert.Options{Attn: convert.Quant(cmp.Or(q.attn, q.quant)), MLP: convert.Quant(cmp.Or(q.mlp, q.quant))}
}

// strategy is the flags as the library takes them.
func (m *modelFlags) strategy(cmd *cobra.Command) (sparseflow.OffloadStrategy, error) {
	s := m.OffloadStrategy
	if s.Mode == sparseflow.Auto && cmd.Flags().Changed("predictor") && !cmd.Flags().Changed("mode") {
		s.Mode = sparseflow.Predicted // auto could choose not to ask it
	}
	kv, err := tensor.ParseDType(m.kv)
	if err != nil {
		return s, usagef(cmd, "--kv: %v", err)
	}
	s.KV = sparseflow.DType(kv)
	if err := s.Validate(); err != nil {
		return s, usagef(cmd, "%v", err)
	}
	return s, nil
}

// addSampling declares the flags of a verb that generates text, which set what r
// asks for.
func addSampling(cmd *cobra.Command, r *sparseflow.Request) {
	fs, s := newGroup(samplingFlagsTitle), &r.Sampling
	fs.IntVar(&r.MaxTokens, "max-tokens", 128, "most `tokens` to generate; default of an answer: 512, and in chat what there is room for")
	fs.Float32Var(&s.Temperature, "temperature", 0, "how freely tokens are drawn, a `number`; 0: the likeliest each time")
	fs.IntVar(&s.TopK, "top-k", 0, "draw from this `number` of likeliest tokens; 0: from all")
	fs.Float32Var(&s.TopP, "top-p", 0, "draw from the likeliest tokens that together have this `probability`; 0: from all")
	fs.Float32Var(&s.MinP, "min-p", 0, "leave out tokens less likely than this `share` of the likeliest's probability; 0: none")
	fs.Float32Var(&s.RepetitionPenalty, "repetition-penalty", 0, "divide the scores of tokens already in the text by this `number`; 0 or 1: do not")
	fs.StringArrayVar(&r.Stop, "stop", nil, "end the text before this `string`; can be given several times")
	fs.BoolVar(&r.IgnoreEOS, "ignore-eos", false, "go on after an end-of-text token")
	addGroup(cmd, fs)
}

// isSetting is the annotation of flags that the environment and the config
// file can set too.
const isSetting = "setting"

// newGroup is a set of flags to declare and then add by addGroup.
func newGroup(title string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(title, pflag.ContinueOnError)
	fs.SortFlags = false
	return fs
}

// addGroup adds flags to cmd, under the heading that the set was made with, as
// settings.
func addGroup(cmd *cobra.Command, fs *pflag.FlagSet) {
	cmd.Flags().SortFlags = false
	fs.VisitAll(func(f *pflag.Flag) {
		f.Annotations = map[string][]string{groupOf: {fs.Name()}, isSetting: {"true"}}
	})
	cmd.Flags().AddFlagSet(fs)
}
