package main

import (
	"cmp"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
)

// synthFlags are the flags of synth.
type synthFlags struct {
	toolFlags
	quantFlags
	synth.Options // but for Profile
	sizes         synth.Sizes
	shape, output string
	force         bool
}

// packSuffix is what makes an output a pack and not a directory.
const packSuffix = ".sflow"

func (a *app) synthCommand() *cobra.Command {
	var f synthFlags
	cmd := &cobra.Command{
		Use:     "synth --shape SHAPE -o (DIR | FILE.sflow | FILE.gguf)",
		GroupID: groupTool,
		Short:   "Make a synthetic model with the sparsity of a published one",
		Long: `Synth draws the weights of a model that has the statistics a sparse engine lives
on, for when real weights are not at hand: how many neurons of each layer fire at
a token, how unequal they are, how far they can be predicted, and how little a
layer changes its input. Speed, memory and recall on it mean something. Its text
and perplexity mean nothing, and every command that opens it says so.

OPT's neurons fire as published for OPT-6.7B (1.56 % in the first layer, 5.36 %
in the last, 3.3 % on average; 26 % of them give 80 % of the activations). Of
relu-llama-7b, a Llama whose gates are ReLU, 25 % to 45 % fire, 32.9 % on average
(43 % of them give 80 %), and of prosparse-7b, with FATReLU, 10.7 % do.

The output is a Hugging Face directory in float16 or, where its name ends in
.sflow, a pack: the one that packing the directory would give. There is no
tokenizer: give token ids (--ids); profile and eval draw their own, by Zipf's law.

Dense models (llama-3.1-8b, qwen3-0.6b and others) and mixtures of experts are for
timing, also with other programs: they are written as GGUF files, with --quant
q4_k_m unless it says otherwise, and a small byte-level tokenizer. Routers name
experts as those of real mixtures do: some are popular, tokens that follow each
other share many, and a layer's input resembles the last one's. mini-moe is a
small one of 0.7 GB. gpt-oss-20b has its experts in mxfp4, as its makers do, and
what is beside them in q8_0.

The same shape, --active and --seed give the same bytes, whatever the threads.
The output appears under its name when it is complete, or not at all.`,
		Example: `  sparseflow synth --shape opt-125m -o opt-125m.sflow
  sparseflow synth --shape opt-6.7b -o synthetic-6.7b
  sparseflow synth --shape llama-3.1-8b -o llama-8b.gguf
  sparseflow synth --shape qwen3-30b-a3b --layers 8 -o a3b-8.gguf
  sparseflow synth --shape custom --hidden 512 --layers 8 -o small.sflow --quant q8_0`,
		Args: argsNamed(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.synth(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(enum{&f.shape, shapes()}, "shape", "sizes of the model")
	flags.StringVarP(&f.output, "output", "o", "", "the `directory`, or .sflow or .gguf file, to write")
	flags.BoolVar(&f.force, "force", false, "replace the file if it is there; a directory is never replaced")
	flags.IntVar(&f.sizes.Hidden, "hidden", 0, "width of the residual stream; for --shape custom, as those that follow")
	flags.IntVar(&f.sizes.Layers, "layers", 0, "number of layers; also fewer or more of any shape")
	flags.IntVar(&f.sizes.Heads, "heads", 0, "attention heads; 0: one for every 64 of --hidden")
	flags.IntVar(&f.sizes.FFN, "ffn", 0, "neurons of a layer; 0: 4 times --hidden")
	flags.IntVar(&f.sizes.Vocab, "vocab", 50272, "number of tokens")
	flags.IntVar(&f.sizes.Context, "context", 2048, "longest text in tokens")
	set := newGroup("Flags:")
	set.Var(percentage(&f.Active), "active", "mean share of neurons that fire at a token; default: as the shape's")
	set.Uint64Var(&f.Seed, "seed", 0, "`number` that the weights are drawn from")
	set.IntVar(&f.Threads, "threads", 0, "threads; 0: one for each processor")
	f.add(set, "f16, of a GGUF file q4_k_m; for these and packs alone", synth.GGUFQuants()...)
	addGroup(cmd, set)
	f.addTo(cmd, false)
	return cmd
}

// shapes are all that synth draws.
func shapes() []string { return append(synth.GGUFShapes(), synth.Shapes()...) }

// synthJSON is what synth --json prints.
type synthJSON struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	Kind   string `json:"kind"` // checkpoint, pack or gguf
	Shape  string `json:"shape"`
	Seed   uint64 `json:"seed"`
	Bytes  int64  `json:"bytes"`
}

func (a *app) synth(cmd *cobra.Command, f *synthFlags) error {
	if f.gguf() {
		return a.synthGGUF(cmd, f)
	}
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	bar := a.newProgress()
	defer bar.close()
	o.Progress = bar.report
	out := synthJSON{Schema: schema, Path: f.output, Kind: "checkpoint", Shape: f.shape, Seed: f.Seed}
	if strings.HasSuffix(f.output, packSuffix) {
		if err := mayWrite(f.output, f.force); err != nil {
			return err
		}
		out.Kind = "pack"
		c := f.quantFlags.options()
		c.Name = strings.TrimSuffix(filepath.Base(f.output), packSuffix)
		var r convert.Result
		r, err = synth.Pack(cmd.Context(), f.output, o, c)
		out.Bytes = r.Bytes
		for _, n := range r.Notices {
			bar.note(n)
		}
	} else {
		out.Bytes, err = synth.WriteDir(cmd.Context(), filepath.Clean(f.output), o)
	}
	bar.close()
	if err != nil {
		return err
	}
	return f.report(a, out)
}

func (f *synthFlags) report(a *app, out synthJSON) error {
	return a.tell(f.json, out, "wrote %s: synthetic %s, %s %s", f.output, f.shape, config.FormatSize(out.Bytes), out.Kind)
}

// options is the flags as package synth takes them.
func (f *synthFlags) options(cmd *cobra.Command) (synth.Options, error) {
	o := f.Options
	changed := cmd.Flags().Changed
	switch {
	case f.shape == "":
		return o, usagef(cmd, "got no --shape, want one of %s", list(shapes()))
	case f.output == "":
		return o, usagef(cmd, "got no output, want -o DIR or -o FILE%s", packSuffix)
	case strings.HasSuffix(f.output, ggufSuffix):
		return o, usagef(cmd, "got -o %s for --shape %s, want -o DIR or -o FILE%s: GGUF files are made of dense shapes and of mixtures of experts alone", f.output, f.shape, packSuffix)
	case f.Threads < 0:
		return o, usagef(cmd, "--threads: got %d, want 0 or more", f.Threads)
	case !strings.HasSuffix(f.output, packSuffix) && (f.quant != string(convert.Keep) || f.attn != "" || f.mlp != ""):
		return o, usagef(cmd, "got --quant for a directory, whose weights are float16; want it for a pack (-o FILE%s) alone", packSuffix)
	}
	sizes := f.sizes
	if f.shape != synth.Custom {
		for _, name := range []string{"hidden", "heads", "ffn", "vocab", "context"} {
			if changed(name) {
				return o, usagef(cmd, "got --%s for --shape %s, want it for --shape %s alone", name, f.shape, synth.Custom)
			}
		}
		var err error
		if sizes, err = synth.Published(f.shape); err != nil {
			return o, err
		}
		if changed("layers") {
			sizes.Layers = f.sizes.Layers
		}
	} else if sizes.Hidden == 0 || sizes.Layers == 0 {
		return o, usagef(cmd, "got --shape %s without sizes, want at least --hidden and --layers", synth.Custom)
	}
	sizes.Heads = cmp.Or(sizes.Heads, max(1, sizes.Hidden/64))
	sizes.FFN = cmp.Or(sizes.FFN, 4*sizes.Hidden)
	o.Profile, o.Statistics = sizes.Profile(), sizes.Statistics
	if err := o.Validate(); err != nil {
		return o, usagef(cmd, "%v", err)
	}
	return o, nil
}
