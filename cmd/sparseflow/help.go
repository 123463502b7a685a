package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the width that flags are explained in: that of a terminal which
// nobody has touched.
const helpWidth = 80

// groupOf is the annotation that puts a flag under a heading of its own.
const groupOf = "group"

// The headings of shared flags.
const (
	modelFlagsTitle    = "Model flags:"
	samplingFlagsTitle = "Sampling flags:"
)

// showHelp writes what a command does, how it is used, and its flags by
// heading.
func showHelp(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(w, "%s\n", strings.TrimSpace(text))
	switch {
	case cmd.HasAvailableSubCommands() && !cmd.HasParent():
		fmt.Fprintf(w, "\nUsage:\n  %s COMMAND\n", cmd.CommandPath())
		showVerbs(w, cmd)
		fmt.Fprintf(w, "\nUse '%s COMMAND --help' to learn more about one.\n", cmd.CommandPath())
		return
	case cmd.Example != "":
		fmt.Fprintf(w, "\nUsage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), strings.Trim(cmd.Example, "\n"))
	default:
		fmt.Fprintf(w, "\nUsage:\n  %s\n", cmd.UseLine())
	}
	showFlags(w, cmd.Flags())
}

func showVerbs(w io.Writer, root *cobra.Command) {
	for _, g := range root.Groups() {
		fmt.Fprintf(w, "\n%s\n", g.Title)
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				fmt.Fprintf(w, "  %-10s %s\n", c.Name(), c.Short)
			}
		}
	}
}

// showFlags writes the flags under their headings, in the order in which they
// were declared.
func showFlags(w io.Writer, all *pflag.FlagSet) {
	var titles []string
	sets := make(map[string]*pflag.FlagSet)
	all.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		title := "Flags:"
		if g := f.Annotations[groupOf]; len(g) > 0 {
			title = g[0]
		}
		if sets[title] == nil {
			sets[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			sets[title].SortFlags = false
			titles = append(titles, title)
		}
		sets[title].AddFlag(f)
	})
	for _, title := range titles {
		fmt.Fprintf(w, "\n%s\n%s", title, sets[title].FlagUsagesWrapped(helpWidth))
	}
}

// helpCommand is "sparseflow help VERB", which unlike cobra's own fails where
// there is no such verb.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "Explain a command",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkVerb(root, args); err != nil {
				return err
			}
			about, _, err := root.Find(args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
