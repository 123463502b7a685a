package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// ggufSuffix is what makes synth's output a GGUF file.
const ggufSuffix = ".gguf"

// defaultMix is that of most GGUF files that people have.
const defaultMix = "q4_k_m"

// dense reports whether f asks for a dense model, which is drawn as a GGUF file
// alone.
func (f *synthFlags) dense() bool { return slices.Contains(synth.DenseShapes(), f.shape) }

// synthDense is synth for dense models.
func (a *app) synthDense(cmd *cobra.Command, f *synthFlags) error {
	switch {
	case f.output == "":
		return usagef(cmd, "got no output, want -o FILE%s", ggufSuffix)
	case !strings.HasSuffix(f.output, ggufSuffix):
		return usagef(cmd, "got -o %s for --shape %s, which is dense, want -o FILE%s", f.output, f.shape, ggufSuffix)
	case f.Threads < 0:
		return usagef(cmd, "--threads: got %d, want 0 or more", f.Threads)
	}
	for _, name := range []string{"hidden", "layers", "heads", "ffn", "vocab", "context", "active", "quant-attn", "quant-mlp"} {
		if cmd.Flags().Changed(name) {
			return usagef(cmd, "got --%s for --shape %s, which is dense, want none", name, f.shape)
		}
	}
	name := f.quant
	if name == string(convert.Keep) {
		name = defaultMix
	}
	mix, err := tensor.ParseMix(name)
	if err != nil {
		return err
	}
	if err := mayWrite(f.output, f.force); err != nil {
		return err
	}
	bar := a.newProgress()
	defer bar.close()
	out := synthJSON{Schema: schema, Path: f.output, Kind: "gguf", Shape: f.shape, Seed: f.Seed}
	out.Bytes, err = synth.WriteGGUF(cmd.Context(), f.output, synth.DenseOptions{
		Shape: f.shape, Mix: mix, Seed: f.Seed, Threads: f.Threads, Progress: bar.report,
	})
	bar.close()
	if err != nil {
		return err
	}
	return f.report(a, out)
}
