package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// The groups that help lists the verbs in.
const (
	groupRun  = "run"
	groupTool = "tool"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sparseflow",
		Short: "Run language models that are bigger than fast memory",
		Long: `SparseFlow runs ReLU language models of which only a part fits in fast memory.
Few neurons of such a model fire for a token: SparseFlow predicts which, keeps
the hot ones in memory and reads the others from disk while attention computes.

Try it first on the small model inside this program:

  sparseflow run tiny "Once upon a time"

MODEL is tiny, a .gguf file, a Hugging Face checkpoint directory, a .sflow pack, or
org/name or org/name:QUANT from the Hugging Face hub cache, where "sparseflow pull"
puts models. It is used where it lies, unless its neurons can be left out one by
one: then it is converted to a pack once, into the cache directory.

Every flag of a model or of sampling can also be set in a TOML file (--config)
or in the environment (SPARSEFLOW_BUDGET=58%, SPARSEFLOW_TOP_K=40). The command
line wins over the environment, the environment over the file.

'sparseflow completion SHELL' prints what makes a shell complete verbs, flags and
models: source <(sparseflow completion bash).

Exit status: 0 done, 1 failed, 2 wrong usage, 3 the budget is too small.`,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: a.applySettings,
	}
	root.SetVersionTemplate("sparseflow {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(showHelp)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run a model:"},
		&cobra.Group{ID: groupTool, Title: "Prepare and inspect:"},
	)
	root.AddCommand(
		a.runCommand(), a.chatCommand(), a.scoreCommand(), a.evalCommand(), a.profileCommand(),
		a.trainCommand(), a.planCommand(), a.packCommand(), a.synthCommand(), a.tokenizeCommand(), a.listCommand(), a.showCommand(), a.pullCommand(),
		a.benchCommand(), a.benchChildCommand(), a.versionCommand(),
	)
	complete(root)
	root.SetHelpCommand(helpCommand(root))
	// Execute would add these too late for checkVerb.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// argsNamed takes between least and most arguments, whose names are for errors.
func argsNamed(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(cmd, "got no %s, want one", names[len(args)])
		case len(args) > len(names):
			extra := args[len(names)]
			hint := ""
			if len(names) > 1 {
				hint = "; a text of several words goes in quotes"
			}
			want := "none"
			if len(names) > 0 {
				want = "only " + strings.Join(names, " and ")
			}
			return usagef(cmd, "got argument %q, want %s%s", extra, want, hint)
		}
		return nil
	}
}
