package trace

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawTrace is any small trace.
func drawTrace(t *rapid.T) *Trace {
	tr := &Trace{Info: Info{Model: "m", Source: "abc", Text: "a text", Layers: rapid.IntRange(1, 3).Draw(t, "layers"),
		FFN: rapid.SampledFrom([]int{1, 2, 9, 300}).Draw(t, "ffn"), Stride: 512}}
	tr.Sets = make([]Sets, tr.Layers)
	for range rapid.IntRange(0, 5).Draw(t, "steps") {
		for l := range tr.Sets {
			ids := rapid.SliceOfNDistinct(rapid.Int32Range(0, int32(tr.FFN-1)), 0, min(tr.FFN, 20), rapid.ID[int32]).Draw(t, "ids")
			slices.Sort(ids)
			tr.Sets[l].Add(ids)
		}
	}
	return tr
}

func same(a, b *Trace) bool {
	return a.Info == b.Info && slices.EqualFunc(a.Sets, b.Sets, func(x, y Sets) bool {
		return slices.Equal(x.IDs, y.IDs) && slices.Equal(x.Ends, y.Ends)
	})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.trace")
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		if err := tr.Write(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if !same(got, tr) {
			t.Fatalf("got %+v, want %+v", got, tr)
		}
	})
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("got %v left over, want no temporary files", left)
	}
}

// fileOf is the bytes of a trace of two layers and two steps.
func fileOf(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.trace")
	tr := &Trace{Info: Info{Layers: 2, FFN: 10, Stride: 512}, Sets: make([]Sets, 2)}
	for range 2 {
		tr.Sets[0].Add([]int32{0, 1, 9})
		tr.Sets[1].Add(nil)
	}
	if err := tr.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fileWith is a file of what is no trace.
func fileWith(t *testing.T, v any) []byte {
	t.Helper()
	b := bytes.NewBufferString(magic)
	z, err := flate.NewWriter(b, flate.BestSpeed)
	if err == nil {
		err = errors.Join(gob.NewEncoder(z).Encode(v), z.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return sealed(b.Bytes())
}

// sealed is b with the checksum that it should have.
func sealed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clone(b), checksum(b))
}

// Every damaged byte and every cut is found.
func TestDamage(t *testing.T) {
	b := fileOf(t)
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 0x10
		if _, err := Parse(bad); err == nil {
			t.Errorf("byte %d flipped: got no error", i)
		}
		if _, err := Parse(b[:i]); err == nil {
			t.Errorf("cut after %d bytes: got no error", i)
		}
	}
}

// What nobody damaged but nobody of ours wrote either.
func TestHostile(t *testing.T) {
	info := Info{Layers: 1, FFN: 4, Stride: 512}
	one := func(ids []int32, ends ...int) Trace { return Trace{info, []Sets{{ids, ends}}} }
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":        {nil, "another kind of file"},
		"another kind": {[]byte("GGUF and some more"), "another kind of file"},
		"older":        {[]byte("SFTRACE\n and some more"), "of this version"},
		"no gob":       {sealed([]byte(magic + "xyz")), "got no trace"},
		"another gob":  {fileWith(t, []string{"a"}), "got no trace"},
		"layers":       {fileWith(t, Trace{Info: Info{Layers: 1e8, FFN: 4, Stride: 1}}), "100000000 layers"},
		"neurons":      {fileWith(t, Trace{Info: Info{Layers: 1, FFN: 1e9, Stride: 1}}), "1000000000 neurons"},
		"stride":       {fileWith(t, Trace{Info: Info{Layers: 1, FFN: 1}}), "stride of 0"},
		"no sets":      {fileWith(t, Trace{Info: info}), "got sets of 0 layers, want 1"},
		"no ends":      {fileWith(t, one([]int32{1})), "in 0 steps and 1 after them"},
		"steps":        {fileWith(t, Trace{Info{Layers: 2, FFN: 4, Stride: 1}, []Sets{{[]int32{1}, []int{1}}, {[]int32{1}, []int{0, 1}}}}), "layer 1: got 2 steps, want 1"},
		"beyond ffn":   {fileWith(t, one([]int32{3, 4}, 2)), "layer 0: step 0: got neuron 4, want 4 to 3"},
		"negative":     {fileWith(t, one([]int32{-1}, 1)), "got neuron -1, want 0 to 3"},
		"descending":   {fileWith(t, one([]int32{2, 1}, 2)), "got neuron 1, want 3 to 3"},
		"end beyond":   {fileWith(t, one([]int32{1}, 2)), "got an end at 2, want 0 to 1"},
		"end before":   {fileWith(t, one([]int32{1}, 1, 0)), "step 1: got an end at 0, want 1 to 1"},
		"more":         {fileWith(t, one([]int32{1, 2}, 1)), "1 after them"},
		"a bomb":       {fileWith(t, one(make([]int32, 1<<23), 1<<23)), "got no trace"},
	} {
		if _, err := Parse(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no file: got %v", err)
	}
}

// A step that was given up is left out; what makes no sense leaves no file.
func TestRecorder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.trace")
	create := func() *Recorder {
		t.Helper()
		r, err := Create(path, Info{Layers: 2, FFN: 10, Stride: 512})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := create()
	r.Want(0, []int32{1})
	r.Want(0, []int32{2}) // anew
	r.Want(1, []int32{3, 4})
	r.Want(0, []int32{5}) // never ended
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	tr, err := Load(path)
	if err != nil || tr.Steps() != 1 || !slices.Equal(tr.Sets[0].At(0), []int32{2}) || !slices.Equal(tr.Sets[1].At(0), []int32{3, 4}) {
		t.Errorf("got %+v, %v, want the one step that was ended", tr, err)
	}
	before, _ := os.ReadFile(path)
	for name, want := range map[string]func(*Recorder){
		"got layer 1, want 0":   func(r *Recorder) { r.Want(1, nil) },
		"got neuron 10, want 0": func(r *Recorder) { r.Want(0, []int32{10}); r.Want(1, nil) },
		"got neuron 3, want 4":  func(r *Recorder) { r.Want(0, []int32{3, 3}); r.Want(1, nil) },
	} {
		r := create()
		want(r)
		if err := r.Close(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q in it", err, name)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a failed trace took the place of the one before")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("got %d files, want the trace alone", len(left))
	}
	if _, err := Create(path, Info{Layers: 2, Stride: 512}); err == nil || !strings.Contains(err.Error(), "got 0 neurons") {
		t.Errorf("no neurons: got %v", err)
	}
	nowhere, err := Create(filepath.Join(dir, "no", "place"), Info{Layers: 2, FFN: 1, Stride: 512})
	if err != nil || nowhere.Close() == nil {
		t.Errorf("no such directory: got %v and no error when it is written", err)
	}
}

// No bytes make Parse panic, and what it takes is written the same again.
func FuzzParse(f *testing.F) {
	f.Add(fileOf(f))
	f.Add([]byte(magic))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > crcBytes { // past the checksum
			b = sealed(b[:len(b)-crcBytes])
		}
		tr, err := Parse(b)
		if err != nil {
			return
		}
		path := filepath.Join(dir, "f.trace")
		if err := tr.Write(path); err != nil {
			t.Fatal(err)
		}
		again, err := Load(path)
		if err != nil || !same(again, tr) {
			t.Fatalf("got %+v, %v, want %+v", again, err, tr)
		}
	})
}
