package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/pull"
)

func (a *app) pullCommand() *cobra.Command {
	var f toolFlags
	cmd := &cobra.Command{
		Use:     "pull MODEL",
		GroupID: groupTool,
		Short:   "Download a model from the Hugging Face hub",
		Long: `Pull downloads org/name, a checkpoint's directory, or org/name:QUANT, the GGUF
files of a quantisation, into the Hugging Face hub cache (where HF_HOME or
HF_HUB_CACHE say, else ~/.cache/huggingface/hub), which other programs share.

What was cut off is continued by the next pull, and what does not have the hash
that the hub lists is not kept. HF_ENDPOINT names another hub, HF_TOKEN gives
access to models that are not open to everybody.`,
		Example: `  sparseflow pull Qwen/Qwen3-0.6B
  sparseflow pull unsloth/Qwen3-0.6B-GGUF:Q4_K_M`,
		Args: argsNamed(1, "MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.pull(cmd.Context(), &f, args[0]) },
	}
	f.addTo(cmd, false)
	return cmd
}

func (a *app) pull(ctx context.Context, f *toolFlags, model string) error {
	bar := a.newProgress()
	r, err := pull.Model(ctx, model, pull.Options{Progress: bar.report})
	bar.close()
	if err != nil {
		return err
	}
	return a.tell(f.json, struct {
		Schema   int    `json:"schema"`
		Name     string `json:"name"`
		Path     string `json:"path"`
		Revision string `json:"revision"`
		Files    int    `json:"files"`
		Bytes    int64  `json:"bytes"`
		Fetched  int64  `json:"fetched_bytes"`
	}{schema, r.Name, r.Dir, r.Revision, r.Files, r.Bytes, r.Fetched},
		"%s is here: %s in %s", plain(r.Name), config.FormatSize(r.Bytes), plain(r.Dir))
}
