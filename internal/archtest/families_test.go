package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/arch"
)

// mayName are the folders whose code names families: that of families; the
// laboratory, which draws models of some; and tokenizers, where the same words are
// names of patterns.
var mayName = []string{"internal/arch", "internal/lab", "internal/token"}

// TestFamilies wants nothing above package arch to know one family from another.
func TestFamilies(t *testing.T) {
	families := map[string]bool{}
	for _, name := range arch.Families() {
		families[name] = true
	}
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			for _, dir := range mayName {
				if name == dir {
					return fs.SkipDir
				}
			}
			return skip(root, name)
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, at := range namesFamily(t, name, src, families) {
			t.Errorf("%s: names a family, which package arch alone may", at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namesFamily lists where a file's code has the name of a family as a string.
func namesFamily(t *testing.T, name string, src []byte, families map[string]bool) (where []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && families[s] {
				where = append(where, set.Position(lit.Pos()).String())
			}
		}
		return true
	})
	return where
}

func TestNamesFamily(t *testing.T) {
	families := map[string]bool{"opt": true}
	got := namesFamily(t, "a.go", []byte("package a\n\nvar a = b == \"opt\" // \"opt\"\nvar c = \"options\""), families)
	if len(got) != 1 || got[0] != "a.go:3:14" {
		t.Errorf("got %v, want a.go:3:14", got)
	}
}
