package sidecar

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/source"
)

var update = flag.Bool("update", false, "rewrite testdata")

// sections lists all of a sidecar by its public face.
func sections(s *Sidecar) map[string]Section {
	all := map[string]Section{}
	for _, name := range s.Names() {
		all[name], _ = s.Section(name)
	}
	return all
}

// randomSidecar draws any sidecar that can be stored.
func randomSidecar(t *rapid.T) *Sidecar {
	s := New(testSource)
	for range rapid.IntRange(0, 4).Draw(t, "sections") {
		sec := Section{Tensors: map[string]Tensor{}}
		if rapid.Bool().Draw(t, "has JSON") {
			sec.JSON, _ = json.Marshal(rapid.MapOf(rapid.String(), rapid.Int()).Draw(t, "JSON"))
		}
		for range rapid.IntRange(0, 4).Draw(t, "tensors") {
			dtype := rapid.SampledFrom([]string{"F32", "U32", "F16", "U8"}).Draw(t, "dtype")
			shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 3).Draw(t, "shape")
			n := elemBytes(dtype)
			for _, d := range shape {
				n *= d
			}
			data := rapid.SliceOfN(rapid.Byte(), int(n), int(n)).Draw(t, "data")
			sec.Tensors[rapid.StringN(1, 8, -1).Draw(t, "tensor")] = Tensor{dtype, shape, data}
		}
		name := strings.ReplaceAll(rapid.StringN(1, 8, -1).Draw(t, "section"), "/", ".")
		s = s.With(name, sec)
	}
	return s
}

// Reading returns what was written, and writing that gives the same bytes.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSidecar(t)
		file := encode(t, s)
		got, err := decode(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sections(s), sections(got)); diff != "" {
			t.Fatalf("read something else (-want +got):\n%s", diff)
		}
		if !bytes.Equal(encode(t, got), file) {
			t.Fatal("got another file from what was read, want the same")
		}
	})
}

// The order in which sections were learned leaves no trace.
func TestDeterministic(t *testing.T) {
	want := encode(t, small())
	names := small().Names()
	for range 20 {
		s := New(testSource)
		slices.Reverse(names)
		for _, name := range names {
			sec, _ := small().Section(name)
			s = s.With(name, sec)
		}
		names = append(names[1:], names[0])
		if !bytes.Equal(encode(t, s), want) {
			t.Fatalf("sections in the order %q: got another file", names)
		}
	}
}

// Any safetensors reader can list the file, and finds each tensor aligned to
// its elements.
func TestSafetensors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file := encode(t, randomSidecar(t))
		h, err := source.ParseSafetensors(bytes.NewReader(file), int64(len(file)), "x.side")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range h.Entries {
			if n := elemBytes(e.DType); n == 0 || e.Offset%n != 0 {
				t.Errorf("%s: got %s at offset %d, want it aligned", e.Name, e.DType, e.Offset)
			}
		}
		if last := h.Entries[len(h.Entries)-1]; last.Name != "crc" || last.DType != "U32" || !slices.Equal(last.Shape, []int64{1}) {
			t.Errorf("got %+v at the end, want crc of U32 [1]", last)
		}
	})
}

// The format stays: version 1 is these bytes.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "v1.side")
	got := encode(t, small())
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want the file %s: %q", got, path, want)
	}
	if diff := cmp.Diff(sections(small()), sections(mustOpen(t, path))); diff != "" {
		t.Errorf("read something else (-want +got):\n%s", diff)
	}
}

// Neither With nor a change of what was passed in or returned changes a sidecar.
func TestImmutable(t *testing.T) {
	s := small()
	before := encode(t, s)
	s.With("profile", Section{}).With("more", Section{})
	sec, ok := s.Section("profile")
	if !ok {
		t.Fatal("got no section profile")
	}
	next := s.With("copy", sec)
	after := encode(t, next)
	copy(sec.JSON, "XXXX")
	sec.Tensors["counts"].Shape[0] = 6
	delete(sec.Tensors, "share")
	if !bytes.Equal(encode(t, s), before) {
		t.Error("the sidecar that the section was of has changed")
	}
	if !bytes.Equal(encode(t, next), after) {
		t.Error("the sidecar that the section was added to has changed")
	}
	if _, ok := s.Section("copy"); ok {
		t.Error("got the new section in the old sidecar")
	}
	if got, want := next.Names(), []string{"auto", "copy", "predictors", "profile"}; !slices.Equal(got, want) {
		t.Errorf("got sections %q, want %q", got, want)
	}
}

// What cannot be stored is refused by its section's name, and no file is made.
func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	tensor := func(name string, x Tensor) Section { return Section{Tensors: map[string]Tensor{name: x}} }
	for name, c := range map[string]struct {
		s    *Sidecar
		want string
	}{
		"no source":      {New(""), "want 64"},
		"upper case":     {New(strings.ToUpper(testSource)), "want 64"},
		"no name":        {New(testSource).With("", Section{}), "not empty"},
		"slash":          {New(testSource).With("a/b", Section{}), `section "a/b"`},
		"name not UTF-8": {New(testSource).With("\xff", Section{}), "UTF-8"},
		"JSON":           {New(testSource).With("a", Section{JSON: []byte("{")}), `section "a"`},
		"JSON not UTF-8": {New(testSource).With("a", Section{JSON: []byte("\"\xff\"")}), "UTF-8"},
		"no tensor name": {New(testSource).With("a", tensor("", Tensor{"U8", nil, []byte{1}})), "without a name"},
		"element type":   {New(testSource).With("a", tensor("x", Tensor{"BF16", []int64{1}, []byte{1, 2}})), `tensor "x"`},
		"too few bytes":  {New(testSource).With("a", tensor("x", Tensor{"F32", []int64{2}, make([]byte, 7)})), "want 8"},
		"negative shape": {New(testSource).With("a", tensor("x", Tensor{"U8", []int64{-1, -1}, []byte{1}})), "[-1 -1]"},
		"vast shape":     {New(testSource).With("a", tensor("x", Tensor{"U8", []int64{1 << 62, 4}, nil})), "below 2^63"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Update(t.Context(), filepath.Join(dir, "x.side"), c.s.source, func(*Sidecar) *Sidecar { return c.s })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "sidecar: write "+dir) {
				t.Errorf("got %v, want an error with %q and the path", err, c.want)
			}
			if got := files(t, dir); len(got) > 0 {
				t.Errorf("got files %q, want none", got)
			}
		})
	}
}
