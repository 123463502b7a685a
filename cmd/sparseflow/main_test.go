package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sparseflow": main})
}

// TestScripts runs testdata/script: one file a topic, each a session at the
// command line. All share one cache directory, in which tiny is packed before.
func TestScripts(t *testing.T) {
	cache := t.TempDir()
	first := exec.Command("sparseflow", "score", "tiny", "--ids", "2,5", "--cache-dir", filepath.Join(cache, "sparseflow"))
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile(filepath.Join(root, "testdata", "text", "books.valid.a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", cache)
			env.Setenv("HF_HOME", filepath.Join(env.WorkDir, "no-hub"))
			env.Setenv("TINY", filepath.Join(root, "models", "tiny"))
			env.Setenv("BOOK", filepath.Join(env.WorkDir, "book.of.a.txt"))
			err := os.WriteFile(env.Getenv("BOOK"), book[:4500], 0o666)
			if err == nil {
				err = os.WriteFile(filepath.Join(env.WorkDir, "latin1.txt"), []byte("na\xefve"), 0o666)
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"json":   jsonCommand,
			"same":   same,
			"golden": golden,
			"flip":   flip,
			"lines":  lines,
			"chomp":  chomp,
			"let":    let,
		},
	})
}

// exits STATUS COMMAND... runs a command, which must end with that status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("%s: got exit status %d, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// jsonCommand looks into the JSON on the last standard output:
//
//	json PATH is VALUE     the value, as JSON spells it; ! before it: not that
//	json PATH above N      a number greater than N
//	json PATH below N      a number less than N
//	json PATH keys A B...  an object with these keys and no others
//
// PATH is keys and indexes with dots between; len is the length of a list, a
// single dot the whole.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg && args[1] != "is" {
		ts.Fatalf("usage: [!] json PATH is VALUE, or json PATH above|below|keys VALUE...")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	v = lookUp(ts, v, args[0])
	switch args[1] {
	case "is":
		got, err := json.Marshal(v)
		ts.Check(err)
		if (string(got) == args[2]) == neg {
			ts.Fatalf("%s: got %s, want %s (negated: %v)", args[0], got, args[2], neg)
		}
	case "above", "below":
		got, ok := v.(float64)
		limit, err := strconv.ParseFloat(args[2], 64)
		ts.Check(err)
		if !ok || args[1] == "above" && got <= limit || args[1] == "below" && got >= limit {
			ts.Fatalf("%s: got %v, want a number %s %v", args[0], v, args[1], limit)
		}
	case "keys":
		m, ok := v.(map[string]any)
		got, want := slices.Sorted(maps.Keys(m)), slices.Sorted(slices.Values(args[2:]))
		if !ok || !slices.Equal(got, want) {
			ts.Fatalf("%s: got keys %v, want %v", args[0], got, want)
		}
	default:
		ts.Fatalf("json: got %q, want is, above, below or keys", args[1])
	}
}

// same PATH FILE wants the value at PATH to be that in another file.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same PATH FILE")
	}
	var values [2]string
	for i, file := range []string{"stdout", args[1]} {
		var v any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &v))
		b, err := json.Marshal(lookUp(ts, v, args[0]))
		ts.Check(err)
		values[i] = string(b)
	}
	if values[0] != values[1] {
		ts.Fatalf("%s: got %s, want that of %s, %s", args[0], values[0], args[1], values[1])
	}
}

func lookUp(ts *testscript.TestScript, v any, path string) any {
	for _, key := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				ts.Fatalf("%s: got no key %q in %v", path, key, slices.Sorted(maps.Keys(at)))
			}
			v = next
		case []any:
			if key == "len" {
				v = float64(len(at))
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				ts.Fatalf("%s: got a list of %d, want index %q in it", path, len(at), key)
			}
			v = at[i]
		default:
			ts.Fatalf("%s: got %v where %q was to be looked up", path, v, key)
		}
	}
	return v
}

// golden holds the output of score --json --logits for one text of
// testdata/tiny/golden.json to the reference implementation's figures:
//
//	golden CASE
func golden(ts *testscript.TestScript, neg bool, args []string) {
	var want struct {
		Cases []struct {
			IDs      []int32   `json:"ids"`
			Logits   []float64 `json:"last_logits"`
			Logprobs []float64 `json:"logprobs_of_next"`
		}
	}
	var got struct {
		IDs      []int32
		Logprobs []*float64
		Logits   []float64
	}
	raw, err := os.ReadFile("../../testdata/tiny/golden.json")
	ts.Check(err)
	ts.Check(json.Unmarshal(raw, &want))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	c := want.Cases[n]
	if !slices.Equal(got.IDs, c.IDs) || len(got.Logprobs) != len(c.IDs) || len(got.Logits) != len(c.Logits) {
		ts.Fatalf("got ids %v, %d logprobs, %d logits; want ids %v", got.IDs, len(got.Logprobs), len(got.Logits), c.IDs)
	}
	if got.Logprobs[0] != nil {
		ts.Fatalf("logprobs[0]: got %v, want null", *got.Logprobs[0])
	}
	for i, w := range c.Logprobs {
		if g := got.Logprobs[i+1]; g == nil || math.Abs(*g-w) > 1e-4 {
			ts.Fatalf("logprobs[%d]: got %v, want %v", i+1, g, w)
		}
	}
	largest := 0.0
	for _, w := range c.Logits {
		largest = max(largest, math.Abs(w))
	}
	for i, w := range c.Logits {
		if math.Abs(got.Logits[i]-w) > 1e-4*largest {
			ts.Fatalf("logits[%d]: got %v, want %v", i, got.Logits[i], w)
		}
	}
}

// flip FILE OFFSET inverts a byte.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b[at] ^= 0xff
	ts.Check(os.WriteFile(path, b, 0o666))
}

// lines FILE N wants that many lines, each of them complete.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if got := strings.Count(text, "\n"); fmt.Sprint(got) != args[1] || text != "" && !strings.HasSuffix(text, "\n") {
		ts.Fatalf("%s: got %d lines, want %s:\n%s", args[0], got, args[1], text)
	}
}

// chomp FILE takes the last line's end off, which no file of a script can lack.
func chomp(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, []byte(strings.TrimSuffix(ts.ReadFile(args[0]), "\n")), 0o666))
}

// let VAR PATH [ADD] sets a variable to a whole number of the JSON on the last
// standard output, plus another.
func let(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	n, ok := lookUp(ts, v, args[1]).(float64)
	if !ok {
		ts.Fatalf("%s: got no number", args[1])
	}
	if len(args) > 2 {
		add, err := strconv.ParseFloat(args[2], 64)
		ts.Check(err)
		n += add
	}
	ts.Setenv(args[0], strconv.FormatFloat(n, 'f', -1, 64))
}
