package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkVerb finds a misspelt verb before its flags, which no verb knows, are
// complained about.
func checkVerb(root *cobra.Command, args []string) error {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return nil // what the scripts of "completion" call; cobra adds it later
	}
	if _, _, err := root.Find(args); err == nil {
		return nil
	}
	word := ""
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			word = arg
			break
		}
	}
	return usagef(root, "unknown command %q%s", word, nearest(word, verbs(root), ""))
}

// verbs are the names of the commands under root that help shows.
func verbs(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// joinValues makes --json=true of --json true: a flag that can stand alone
// takes its value by = only, for pflag cannot know whether the next word is
// one. Here a word that can be nothing else is.
func joinValues(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil {
		return args
	}
	joined := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		joined = append(joined, args[i])
		if args[i] == "--" {
			return append(joined, args[i+1:]...)
		}
		f := flagNamed(cmd, args[i])
		switch {
		case f == nil || i+1 == len(args):
		case f.NoOptDefVal == "":
			i++ // its value, whatever that looks like
			joined = append(joined, args[i])
		case isValueOf(f, args[i+1]):
			i++
			joined[len(joined)-1] += "=" + args[i]
		}
	}
	return joined
}

// flagNamed is the flag that a word names without a value, nil if none.
func flagNamed(cmd *cobra.Command, word string) *pflag.Flag {
	if name, ok := strings.CutPrefix(word, "--"); ok {
		return cmd.Flags().Lookup(name)
	}
	if len(word) == 2 && word[0] == '-' {
		return cmd.Flags().ShorthandLookup(word[1:])
	}
	return nil
}

// isValueOf reports whether word is surely the value of a flag that can stand
// alone.
func isValueOf(f *pflag.Flag, word string) bool {
	if f.Value.Type() == "bool" {
		return word == "true" || word == "false"
	}
	return word == f.NoOptDefVal || strings.HasSuffix(word, "%")
}

// wantsJSON reports whether --json is set, for errors that can come before the
// flags are parsed.
func (a *app) wantsJSON(root *cobra.Command, args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	cmd, _, err := root.Find(args)
	if err != nil {
		return false
	}
	f := cmd.Flags().Lookup("json")
	return f != nil && (f.Value.String() == "true" || !f.Changed && slices.Contains(args, "--json"))
}
