package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/table"
)

func (a *app) listCommand() *cobra.Command {
	var f toolFlags
	cmd := &cobra.Command{
		Use:     "list",
		GroupID: groupTool,
		Short:   "List the models that are here",
		Long: `List names the models on this machine: the embedded one, the packs in the cache
directory, and in the Hugging Face hub cache (where HF_HOME or HF_HUB_CACHE say,
else ~/.cache/huggingface/hub) GGUF models and those of known families. It looks
at nothing else and reaches for no network.`,
		Example: `  sparseflow list
  sparseflow list --json`,
		Args: argsNamed(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.list(&f) },
	}
	f.addTo(cmd, true)
	return cmd
}

func (a *app) list(f *toolFlags) error {
	dir, err := hub.CacheDir(f.cacheDir)
	if err != nil {
		return err
	}
	models, err := listed(dir)
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(struct {
			Schema int         `json:"schema"`
			Models []hub.Entry `json:"models"`
		}{schema, models})
	}
	t := table.Table{Right: []bool{false, false, true}}
	t.Add("NAME", "KIND", "SIZE", "PATH")
	for _, m := range models {
		kind := m.Kind
		if m.Synthetic {
			kind = "synthetic " + kind
		}
		if m.Incomplete {
			kind = "incomplete " + kind
		}
		t.Add(m.Name, kind, config.FormatSize(m.Bytes), m.Path)
	}
	t.Print(a.stdout)
	return nil
}

// listed is what can be run of what is here.
func listed(cacheDir string) ([]hub.Entry, error) {
	models, err := hub.List(cacheDir)
	return slices.DeleteFunc(models, func(e hub.Entry) bool {
		return e.Kind == string(hub.Checkpoint) && arch.FamilyOf(e.Family) == ""
	}), err
}
