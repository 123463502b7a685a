package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/atomicfile"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// packFlags are the flags of pack.
type packFlags struct {
	toolFlags
	quantFlags
	output, verify, order string
	force                 bool
}

func (a *app) packCommand() *cobra.Command {
	var f packFlags
	cmd := &cobra.Command{
		Use:     "pack (MODEL -o FILE | --verify FILE | --order FILE)",
		GroupID: groupTool,
		Short:   "Convert a checkpoint to a pack, check or re-order one",
		Long: `Pack converts a Hugging Face checkpoint or a GGUF file to a .sflow pack: one file
in which each neuron and each expert lies in one piece, with the tokenizer, and
with every byte under a checksum. The other commands do so by themselves where a
model cannot be used as it lies, into the cache directory; use pack to choose the
place and the element types, or to check a pack.

What is exact: --quant keep, the default, keeps every weight as stored. A
narrower type rounds to nearest. q8_0 and q4_0 are GGUF's: blocks of 32 weights
of 8 or 4 bits with a scale each; with them activations are rounded to 8 bits
too. q4_k, q5_k and q6_k are more exact for as many bits, in blocks of 256; q4_k_m
and q5_k_m give more bits to the matrices that need them most. Rows that blocks do
not fill get smaller blocks or f16, neurons q4_0 or q8_0 in place of large blocks.

The pack appears under its name when it is complete, or not at all. With
--verify the whole file is read and checked.

With --order the neurons of a pack that has been profiled are put in order of
how often they fire, the hottest first, so that those that are read together lie
together. Results stay the same, bit for bit. It needs room for a second copy
while it works; the pack is replaced when the copy is complete.`,
		Example: `  sparseflow pack tiny -o tiny.sflow
  sparseflow pack tiny -o tiny-f32.sflow --quant f32
  sparseflow pack tiny -o tiny-q8.sflow --quant q8_0 --quant-mlp f16
  sparseflow pack --verify tiny.sflow
  sparseflow profile tiny.sflow && sparseflow pack --order tiny.sflow
  sparseflow run tiny.sflow "Once upon a time"`,
		Args: argsNamed(0, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pack(cmd, &f, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.output, "output", "o", "", "the `file` to write")
	flags.BoolVar(&f.force, "force", false, "replace the file if it is there")
	flags.StringVar(&f.verify, "verify", "", "check this `file` and write nothing")
	flags.StringVar(&f.order, "order", "", "put the neurons of this `file` in order, the hottest first")
	set := newGroup("Flags:")
	f.add(set, "as stored")
	addGroup(cmd, set)
	f.addTo(cmd, true)
	return cmd
}

func (a *app) pack(cmd *cobra.Command, f *packFlags, args []string) error {
	switch {
	case f.verify != "" && (len(args) > 0 || f.output != "" || f.order != ""):
		return usagef(cmd, "got --verify and something else to do, want one")
	case f.verify != "":
		return a.verify(cmd.Context(), f)
	case cmd.Flags().Changed("verify"):
		return usagef(cmd, "--verify: got an empty name, want a pack")
	case f.order != "" && (len(args) > 0 || f.output != ""):
		return usagef(cmd, "got both --order and a model to convert, want one")
	case f.order != "":
		return a.order(cmd.Context(), f)
	case cmd.Flags().Changed("order"):
		return usagef(cmd, "--order: got an empty name, want a pack")
	case len(args) == 0:
		return usagef(cmd, "got no MODEL, want one, or --verify FILE or --order FILE")
	case f.output == "":
		return usagef(cmd, "got no output file, want -o FILE such as -o model.sflow")
	}
	src, err := hub.FindIn(args[0], f.cacheDir)
	if err != nil {
		return err
	}
	if src.Kind == hub.Pack {
		return fmt.Errorf("%s is a pack already; give the checkpoint that it was made from", src.Path)
	}
	if err := mayWrite(f.output, f.force); err != nil {
		return err
	}
	return a.convert(cmd.Context(), f, src)
}

// mayWrite refuses to convert for minutes only to find that the result has no
// place.
func mayWrite(path string, force bool) error {
	if err := atomicfile.Replaceable(path); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if _, err := os.Stat(path); err == nil && !force {
		return fmt.Errorf("--output: %s is there already; --force replaces it", path)
	}
	return nil
}

// packJSON is what pack --json prints.
type packJSON struct {
	Schema       int    `json:"schema"`
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`
	SourceSHA256 string `json:"source_sha256"`
	Attn         string `json:"attn"` // element type of most of attention, embeddings and head
	MLP          string `json:"mlp"`  // element type of the neurons, or of most matrices of MLPs and experts
}

func (a *app) convert(ctx context.Context, f *packFlags, src hub.Source) error {
	bar := a.newProgress()
	o := f.options()
	o.Name, o.Progress, o.Notify = src.Name, bar.report, bar.note
	r, err := convert.ConvertModel(ctx, src, f.output, o)
	bar.close()
	if err != nil {
		return err
	}
	for _, n := range r.Notices {
		bar.note(n)
	}
	what := "MLPs"
	switch {
	case r.Profile.Experts() > 0:
		what = "experts"
	case r.Profile.Sparse():
		what = "neurons"
	}
	return a.tell(f.json, packJSON{schema, f.output, r.Bytes, r.SourceSHA256, r.Attn.String(), r.MLP.String()},
		"wrote %s: %s, attention %v, %s %v", f.output, config.FormatSize(r.Bytes), r.Attn, what, r.MLP)
}

// verifyJSON is what pack --verify --json prints.
type verifyJSON struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
}

func (a *app) verify(ctx context.Context, f *packFlags) error {
	bar := a.newProgress()
	err := pack.Verify(ctx, f.verify, func(done, total int64) { bar.report("checking", done, total) })
	bar.close()
	if f.json {
		out := verifyJSON{Schema: schema, Path: f.verify, OK: err == nil}
		if err != nil {
			out.Error = err.Error()
		}
		return errors.Join(err, a.printJSON(out))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s: ok\n", f.verify)
	return nil
}
