package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sparseflow/sparseflow/internal/hub"
)

// complete tells shells which words can follow: the models that are here, beside
// files, where a verb takes one, and the words of flags that take one of a few.
func complete(root *cobra.Command) {
	for _, c := range root.Commands() {
		if strings.Contains(c.Use, "MODEL") {
			c.ValidArgsFunction = completeModel
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if e, ok := f.Value.(enum); ok {
				// It fails for a flag that has words already, and none has.
				_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(e.words, cobra.ShellCompDirectiveNoFileComp))
			}
		})
	}
}

func completeModel(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	dir := ""
	if f := cmd.Flags().Lookup("cache-dir"); f != nil {
		dir = f.Value.String()
	}
	dir, err := hub.CacheDir(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	models, err := listed(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, m := range models {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveDefault
}
