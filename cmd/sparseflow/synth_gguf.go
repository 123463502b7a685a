package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/lab/synth"
)

// ggufSuffix is what makes synth's output a GGUF file.
const ggufSuffix = ".gguf"

// gguf reports whether f asks for a model that is drawn as a GGUF file alone.
func (f *synthFlags) gguf() bool { return slices.Contains(synth.GGUFShapes(), f.shape) }

// synthGGUF is synth for such models.
func (a *app) synthGGUF(cmd *cobra.Command, f *synthFlags) error {
	switch {
	case f.output == "":
		return usagef(cmd, "got no output, want -o FILE%s", ggufSuffix)
	case !strings.HasSuffix(f.output, ggufSuffix):
		return usagef(cmd, "got -o %s for --shape %s, which is drawn as a GGUF file, want -o FILE%s", f.output, f.shape, ggufSuffix)
	case f.Threads < 0:
		return usagef(cmd, "--threads: got %d, want 0 or more", f.Threads)
	case cmd.Flags().Changed("layers") && (f.sizes.Layers < 1 || f.sizes.Layers > config.MostLayers):
		return usagef(cmd, "--layers: got %d, want 1 to %d", f.sizes.Layers, config.MostLayers)
	}
	for _, name := range []string{"hidden", "heads", "ffn", "vocab", "context", "active", "quant-attn", "quant-mlp"} {
		if cmd.Flags().Changed(name) {
			return usagef(cmd, "got --%s for --shape %s, which is drawn as a GGUF file, want none", name, f.shape)
		}
	}
	if err := mayWrite(f.output, f.force); err != nil {
		return err
	}
	bar := a.newProgress()
	defer bar.close()
	o := synth.GGUFOptions{Shape: f.shape, Layers: f.sizes.Layers, Seed: f.Seed, Threads: f.Threads, Progress: bar.report}
	if f.quant != string(convert.Keep) {
		o.Quant = f.quant
	}
	out := synthJSON{Schema: schema, Path: f.output, Kind: "gguf", Shape: f.shape, Seed: f.Seed}
	var err error
	out.Bytes, err = synth.WriteGGUF(cmd.Context(), f.output, o)
	bar.close()
	if err != nil {
		return err
	}
	return f.report(a, out)
}
