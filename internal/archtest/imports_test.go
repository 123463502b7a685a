package archtest

import (
	"bufio"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// layers is the module from top to bottom, by folder; what lies inside a listed
// folder is on its line. A package imports from its own line (Go itself forbids
// cycles) and from the lines below it, never from above. A package that is not
// here is an error: whoever adds one decides where it belongs.
var layers = [][]string{
	{"cmd/sparseflow", "examples/generation"},
	{"internal/lab"}, // measures the product: cmd alone imports it
	{"internal/server"},
	{"."}, // the public API
	{"internal/calibrate"},
	{"internal/learned"},
	{"internal/quality"},
	{"internal/engine"},
	{"internal/sched"},
	{"internal/convert"},
	{"internal/model"},
	{"internal/transfer"},
	{"internal/predict"},
	{"internal/placement"}, // plans for caches and buffers, whose sizes it asks
	{"internal/cache", "internal/disk"},
	{"internal/device"},
	{"internal/kernel"},
	{"internal/pack", "internal/arch", "internal/sidecar", "internal/pull"},
	{"internal/hub"},
	{"internal/source"},
	{"internal/kv", "internal/sample", "internal/token", "internal/chat"},
	{"internal/config"},
	{"internal/tensor"},
	{"internal/atomicfile", "internal/suggest", "internal/heap", "internal/memory", "internal/mirror", "internal/parallel", "internal/table", "internal/shortsleep", "models/tiny", "models/text", "internal/archtest"}, // import nothing of the module
}

// foundations are packages whose own test files keep to the layers too, so
// that they build and are tested with nothing above them. Elsewhere a test may
// import what it likes, and so may an external test (package x_test).
var foundations = []string{"internal/tensor", "internal/config", "internal/kv", "internal/kernel"}

// public are packages that show what a user can do: of the module they import
// the root alone.
var public = []string{"examples/generation"}

func TestImports(t *testing.T) {
	root := os.DirFS("../..")
	for _, problem := range check(t, root, layers) {
		t.Error(problem)
	}
}

// check returns what is wrong with the imports of the module at root.
func check(t *testing.T, root fs.FS, layers [][]string) (problems []string) {
	t.Helper()
	module := moduleName(t, root)
	depth := map[string]int{}
	for i, line := range layers {
		for _, p := range line {
			if _, twice := depth[p]; twice {
				t.Fatalf("layers: %s is listed twice", p)
			}
			depth[p] = i
		}
	}
	missing := map[string]bool{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(root, name)
		case path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(name)
		if _, known := lineOf(depth, from); !known {
			if !missing[from] {
				problems = append(problems, fmt.Sprintf("%s: package %s is in no layer: add it to the table", name, from))
			}
			missing[from] = true
			return nil
		}
		external := strings.HasSuffix(file.Name.Name, "_test")
		if external || strings.HasSuffix(name, "_test.go") && !slices.Contains(foundations, from) {
			return nil
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			to, ours := inModule(module, imported)
			if !ours {
				continue
			}
			if what := arrow(depth, from, to); what != "" {
				problems = append(problems, fmt.Sprintf("%s: %s imports %s, %s", set.Position(spec.Pos()), from, to, what))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

// arrow says what is wrong with an import, "" for nothing.
func arrow(depth map[string]int, from, to string) string {
	at, _ := lineOf(depth, from)
	line, known := lineOf(depth, to)
	switch {
	case !known:
		return "which is in no layer"
	case line < at:
		return "which is above it"
	case slices.Contains(public, from) && to != ".":
		return "and may import the public API alone"
	}
	return ""
}

// lineOf is the line of a package's folder, or of the nearest listed one that
// it lies in.
func lineOf(depth map[string]int, pkg string) (int, bool) {
	for ; ; pkg = path.Dir(pkg) {
		if line, ok := depth[pkg]; ok {
			return line, true
		}
		// The root package is no home for what has none.
		if path.Dir(pkg) == "." {
			return 0, false
		}
	}
}

// skip leaves out folders that the go command ignores and other modules.
func skip(root fs.FS, dir string) error {
	base := path.Base(dir)
	switch {
	case dir == ".":
		return nil
	case base == "testdata", strings.HasPrefix(base, "_"), strings.HasPrefix(base, "."):
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// inModule is an import path's folder in the module.
func inModule(module, imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func moduleName(t *testing.T, root fs.FS) string {
	t.Helper()
	f, err := root.Open("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "module "); ok {
			return name
		}
	}
	t.Fatal("go.mod: got no module line")
	return ""
}

// The check itself finds each kind of wrong import and lets right ones pass.
func TestCheck(t *testing.T) {
	table := [][]string{{"examples/generation"}, {"."}, {"internal/engine"}, {"internal/kv"}, {"internal/tensor"}}
	for _, c := range []struct{ file, src, want string }{
		{"internal/engine/a.go", `package engine; import "m/internal/kv"`, ""},
		{"internal/engine/a.go", `package engine; import ("fmt"; "other.org/m/internal/x")`, ""},
		{"a.go", `package m; import "m/internal/engine"`, ""},
		{"internal/kv/a.go", "package kv\n\nimport (\n\t\"os\"\n\t\"m/internal/engine\"\n)",
			"internal/kv/a.go:5:2: internal/kv imports internal/engine, which is above it"},
		{"internal/tensor/a.go", `package tensor; import _ "m"`, "internal/tensor/a.go:1:24: internal/tensor imports ., which is above it"},
		{"internal/kv/a_linux.go", "//go:build linux\n\npackage kv; import \"m/internal/engine\"",
			"internal/kv/a_linux.go:3:20: internal/kv imports internal/engine, which is above it"},
		{"internal/new/a.go", `package new`, "internal/new/a.go: package internal/new is in no layer: add it to the table"},
		{"internal/engine/a.go", `package engine; import "m/internal/new"`,
			"internal/engine/a.go:1:24: internal/engine imports internal/new, which is in no layer"},
		{"new/a.go", `package new`, "new/a.go: package new is in no layer: add it to the table"},
		{"internal/kv/sub/a.go", `package sub; import ("m/internal/kv"; "m/internal/tensor/sub")`, ""},
		{"internal/kv/sub/deep/a.go", `package deep; import "m/internal/engine/sub"`,
			"internal/kv/sub/deep/a.go:1:22: internal/kv/sub/deep imports internal/engine/sub, which is above it"},
		{"examples/generation/a.go", `package main; import "m"`, ""},
		{"examples/generation/a.go", `package main; import "m/internal/engine"`,
			"examples/generation/a.go:1:22: examples/generation imports internal/engine, and may import the public API alone"},

		{"internal/engine/a_test.go", `package engine; import "m"`, ""},
		{"internal/kv/a_test.go", `package kv_test; import "m"`, ""},
		{"internal/kv/a_test.go", `package kv; import "m/internal/tensor"`, ""},
		{"internal/kv/a_test.go", `package kv; import "m"`, "internal/kv/a_test.go:1:20: internal/kv imports ., which is above it"},

		{"internal/kv/testdata/a.go", `package x; import "m"`, ""},
		{"internal/kv/_gen/a.go", `package x; import "m"`, ""},
		{"other/sub/a.go", `package x; import "m"`, ""},
	} {
		got := check(t, fstest.MapFS{
			"go.mod":       {Data: []byte("module m\n\ngo 1.26\n")},
			"other/go.mod": {Data: []byte("module other\n")},
			c.file:         {Data: []byte(c.src)},
		}, table)
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %s\n got %q\nwant %q", c.file, c.src, got, c.want)
		}
	}
}
