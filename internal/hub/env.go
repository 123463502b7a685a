package hub

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hubCacheDir is a directory of downloaded models, and the variable that
// determined it.
type hubCacheDir struct{ dir, from string }

// hubCaches are the directories of the Hugging Face hub cache: that of
// huggingface_hub first, then that which versions 4 of transformers use in its
// place where it is set.
func hubCaches() (all []hubCacheDir) {
	if c, ok := hubCache(); ok {
		all = append(all, c)
	}
	if dir := variable("TRANSFORMERS_CACHE"); dir != "" {
		all = append(all, hubCacheDir{dir, "TRANSFORMERS_CACHE"})
	}
	return all
}

// HubDir is where downloaded models go.
func HubDir() (string, error) {
	c, ok := hubCache()
	if !ok {
		return "", errors.New("hub: got no home directory, want HF_HOME or HF_HUB_CACHE to say where models go")
	}
	return c.dir, nil
}

// Token is what the environment has for access to the hub: HF_TOKEN, or the file
// that logging in leaves; "" where there is none.
func Token() string {
	for _, v := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if t := strings.TrimSpace(os.Getenv(v)); t != "" {
			return t
		}
	}
	path := variable("HF_TOKEN_PATH")
	if path == "" {
		home := variable("HF_HOME")
		if home == "" {
			home = filepath.Join(cmp.Or(variable("XDG_CACHE_HOME"), filepath.Join(homeDir(), ".cache")), "huggingface")
		}
		path = filepath.Join(home, "token")
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 4096 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func hubCache() (c hubCacheDir, ok bool) {
	for _, v := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := variable(v); dir != "" {
			return hubCacheDir{dir, v}, true
		}
	}
	if dir := variable("HF_HOME"); dir != "" {
		return hubCacheDir{filepath.Join(dir, "hub"), "HF_HOME"}, true
	}
	if dir := variable("XDG_CACHE_HOME"); dir != "" {
		return hubCacheDir{filepath.Join(dir, "huggingface", "hub"), "XDG_CACHE_HOME"}, true
	}
	home := homeDir()
	return hubCacheDir{filepath.Join(home, ".cache", "huggingface", "hub"), "the default"}, home != ""
}

// variable is a directory that the environment names. Where no shell has been,
// as in a unit of systemd or an --env-file of docker, ~ and other variables
// still stand in it.
func variable(name string) string { return expand(os.Getenv(name)) }

var reference = regexp.MustCompile(`\$([A-Za-z0-9_]+|\{[^}]*\})`)

// expand replaces a leading ~ or ~user, then $NAME and ${NAME}, as
// os.path.expanduser and expandvars of Python do for huggingface_hub. What is
// not known stays as it is.
func expand(dir string) string {
	if name, rest, _ := strings.Cut(dir, "/"); strings.HasPrefix(name, "~") {
		home := homeDir()
		if name != "~" {
			home = ""
			if u, err := user.Lookup(name[1:]); err == nil {
				home = u.HomeDir
			}
		}
		if home != "" {
			dir = filepath.Join(home, rest)
		}
	}
	return reference.ReplaceAllStringFunc(dir, func(ref string) string {
		if value, ok := os.LookupEnv(strings.Trim(ref[1:], "{}")); ok {
			return value
		}
		return ref
	})
}

// homeDir is the user's home directory, "" where there is none.
func homeDir() string {
	if home, err := os.UserHomeDir(); err == nil && home != "" {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// CacheDir is where packs of checkpoints go: asked or, where that is empty,
// sparseflow under XDG_CACHE_HOME or ~/.cache, or without a home directory
// sparseflow-<uid> under the directory for temporary files.
func CacheDir(asked string) (string, error) {
	if asked != "" {
		return expand(asked), nil
	}
	// The specification has programs ignore a relative XDG_CACHE_HOME.
	if dir := variable("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sparseflow"), nil
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "sparseflow"), nil
	}
	dir, err := filepath.Abs(filepath.Join(os.TempDir(), "sparseflow-"+strconv.Itoa(os.Getuid())))
	if err != nil {
		return "", fmt.Errorf("hub: cache directory: %w; choose one by --cache-dir", err)
	}
	return dir, nil
}
