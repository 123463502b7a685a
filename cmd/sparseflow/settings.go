package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envPrefix starts the variables of this program.
const envPrefix = "SPARSEFLOW_"

// applySettings sets the flags that the command line leaves out from the
// environment and, what that leaves out, from the config file. A setting that
// only other verbs have is accepted and does nothing here, so that one file
// and one environment serve all of them. One that no verb has is an error in a
// file and a note in the environment, where others write too: Kubernetes sets
// SPARSEFLOW_PORT for a service of that name.
func (a *app) applySettings(cmd *cobra.Command, _ []string) error {
	known := settingsOf(cmd.Root())
	given := make(map[string]bool) // on the command line or in the environment
	var unknown []string
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
	for _, kv := range a.environ {
		key, value, _ := strings.Cut(kv, "=")
		word, ok := strings.CutPrefix(key, envPrefix)
		if !ok {
			continue
		}
		name := strings.ReplaceAll(strings.ToLower(word), "_", "-")
		if !slices.Contains(known, name) || key != envPrefix+strings.ToUpper(word) {
			unknown = append(unknown, key+nearest(key, variables(known), ""))
			continue
		}
		// Empty is how a shell spells unset.
		if given[name] || value == "" || !has(cmd, name) {
			continue
		}
		if err := set(cmd, name, value); err != nil {
			return usagef(cmd, "%s: %v", key, err)
		}
		given[name] = true
	}
	if len(unknown) > 0 {
		a.newProgress().note("ignored in the environment, since there is no such setting: " + strings.Join(unknown, ", "))
	}
	if !has(cmd, "config") {
		return nil
	}
	path := cmd.Flag("config").Value.String()
	if path == "" {
		return nil
	}
	return applyFile(cmd, path, known, given)
}

// settingsOf are the names of all flags under root that are settings.
func settingsOf(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Annotations[isSetting] != nil && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		})
	}
	return names
}

func variables(settings []string) (names []string) {
	for _, s := range settings {
		names = append(names, envPrefix+strings.ToUpper(strings.ReplaceAll(s, "-", "_")))
	}
	return names
}

// has reports whether cmd has a flag that is a setting.
func has(cmd *cobra.Command, name string) bool {
	f := cmd.Flags().Lookup(name)
	return f != nil && f.Annotations[isSetting] != nil
}

// set gives a flag a value from elsewhere than the command line.
func set(cmd *cobra.Command, name, value string) error {
	err := cmd.Flags().Set(name, value)
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return valueError(invalid.GetFlag(), value, invalid.Unwrap())
	}
	return err
}

// applyFile sets what is in the TOML file at path and not given elsewhere.
// Keys are the flags' names; underscores may stand for hyphens, as in the
// names of the original system's options.
func applyFile(cmd *cobra.Command, path string, known []string, given map[string]bool) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var table map[string]any
	if err := toml.Unmarshal(raw, &table); err != nil {
		var d *toml.DecodeError
		if errors.As(err, &d) {
			line, column := d.Position()
			return usagef(cmd, "%s:%d:%d: %v", path, line, column, d)
		}
		return usagef(cmd, "%s: %v", path, err)
	}
	// One file must not set one flag twice under two spellings.
	seen := make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		value := table[key]
		name := strings.ReplaceAll(key, "_", "-")
		switch {
		case name == "config":
			return usagef(cmd, "%s: got key %q, want it on the command line or in the environment", path, key)
		case !slices.Contains(known, name):
			return usagef(cmd, "%s: unknown key %q%s", path, key, nearest(name, known, ""))
		case seen[name] != "":
			return usagef(cmd, "%s: got both %q and %q, want one", path, min(key, seen[name]), max(key, seen[name]))
		}
		seen[name] = key
		if given[name] || !has(cmd, name) {
			continue
		}
		values, err := words(value)
		if err == nil && len(values) > 1 && cmd.Flags().Lookup(name).Value.Type() != "stringArray" {
			err = fmt.Errorf("got a list of %d, want one value", len(values))
		}
		for _, v := range values {
			if err == nil {
				err = set(cmd, name, v)
			}
		}
		if err != nil {
			return usagef(cmd, "%s: %s: %v", path, key, err)
		}
	}
	return nil
}

// words is a TOML value as a command line would spell it, one word for each
// element of a list.
func words(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'g', -1, 64)}, nil
	case []any:
		var all []string
		for _, e := range v {
			one, err := words(e)
			if err != nil || len(one) != 1 {
				return nil, fmt.Errorf("got a list of %T, want a list of strings", e)
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("got a %T, want a string, a number or true or false", value)
}
