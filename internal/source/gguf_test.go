package source

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sparseflow/sparseflow/internal/source/gguf"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// ggufFile is a file of vectors, each of 32 bytes full of its index.
func ggufFile(t testing.TB, metadata map[string]any, kind gguf.Type, names ...string) []byte {
	t.Helper()
	h := &gguf.Header{Metadata: metadata}
	for _, name := range names {
		h.Tensors = append(h.Tensors, gguf.Tensor{Name: name, Shape: []int64{1, 8}, Type: kind})
	}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		b = append(b, bytes.Repeat([]byte{byte(i)}, 32)...)
	}
	return b
}

func openGGUF(t testing.TB, file string, files map[string][]byte) (*Checkpoint, error) {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	c, err := OpenGGUF(fsys, "dir", file)
	if c != nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func TestGGUF(t *testing.T) {
	data := ggufFile(t, map[string]any{"general.architecture": "llama"}, 0, "a", "b")
	c, err := openGGUF(t, "m.gguf", map[string][]byte{"m.gguf": data})
	if err != nil {
		t.Fatal(err)
	}
	b, ok := c.Tensor("b")
	if !ok || b.DType != tensor.F32 || b.Stored != "F32" || !slices.Equal(b.Shape, []int64{1, 8}) || !bytes.Equal(readAll(t, b), bytes.Repeat([]byte{1}, 32)) {
		t.Errorf("got %+v", b)
	}
	file, off, ok := b.Place()
	if file != "m.gguf" || off != int64(len(data)-32) || !ok {
		t.Errorf("got place %s %d %v", file, off, ok)
	}
	if c.Metadata()["general.architecture"] != "llama" || !slices.Equal(c.Files(), []string{"m.gguf"}) {
		t.Errorf("got metadata %v of files %v", c.Metadata(), c.Files())
	}
	// A type that nobody reads is an error of the tensor that has it alone.
	c, err = openGGUF(t, "m.gguf", map[string][]byte{"m.gguf": ggufFile(t, nil, 26, "i")})
	if err != nil {
		t.Fatal(err)
	}
	i, _ := c.Tensor("i")
	wantError(t, i.Err(), `tensor "i": got element type I32`)
	if _, _, ok := i.Place(); ok || i.Bytes() != 32 {
		t.Errorf("got a place for I32, or %d bytes", i.Bytes())
	}
}

// split is a model of three parts.
func splitFiles(t testing.TB) map[string][]byte {
	part := func(no uint16, names ...string) []byte {
		m := map[string]any{"split.no": no, "split.count": uint16(3), "split.tensors.count": int32(4)}
		if no == 0 {
			m["general.architecture"] = "llama"
		}
		return ggufFile(t, m, 0, names...)
	}
	return map[string][]byte{
		"m-00001-of-00003.gguf": part(0),
		"m-00002-of-00003.gguf": part(1, "a", "b"),
		"m-00003-of-00003.gguf": part(2, "c", "d"),
	}
}

func TestSplitGGUF(t *testing.T) {
	for file := range splitFiles(t) {
		c, err := openGGUF(t, file, splitFiles(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Names(), " "); got != "a b c d" || c.Metadata()["general.architecture"] != "llama" || len(c.Files()) != 3 {
			t.Errorf("by %s: got tensors %s, metadata %v, files %v", file, got, c.Metadata(), c.Files())
		}
		d, _ := c.Tensor("d")
		if in, _, _ := d.Place(); in != "m-00003-of-00003.gguf" || !bytes.Equal(readAll(t, d), bytes.Repeat([]byte{1}, 32)) {
			t.Errorf("got %+v in %s", d, in)
		}
	}
}

func TestBadSplitGGUF(t *testing.T) {
	const one, two, three = "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"
	for _, tt := range []struct {
		change func(f map[string][]byte)
		file   string
		want   string
	}{
		{func(f map[string][]byte) { delete(f, three) }, one, "dir/" + three + ": got no such part of a model of 3"},
		{func(f map[string][]byte) { delete(f, one) }, three, "dir/" + one + ": got no such part"},
		{func(f map[string][]byte) { f[two], f[three] = f[three], f[two] }, one, "got part 3 of 3 by its metadata, want part 2 of 3"},
		{func(f map[string][]byte) { f["x.gguf"] = f[two] }, "x.gguf", "want NAME-00002-of-00003.gguf"},
		{func(f map[string][]byte) { f[three] = f[three][:40] }, two, "dir/" + three},
		{func(f map[string][]byte) {
			f[three] = ggufFile(t, map[string]any{"split.no": uint16(2), "split.count": uint16(3)}, 0, "a")
		}, one, `tensor "a" again`},
		{func(f map[string][]byte) {
			f[three] = ggufFile(t, map[string]any{"split.no": uint16(2), "split.count": uint16(3)}, 0, "c")
		}, one, "got 3 tensors in all 3 parts, want 4"},
		{func(f map[string][]byte) { f[one] = ggufFile(t, map[string]any{"split.count": "x"}, 0) }, one, `"split.count": got x`},
		{func(f map[string][]byte) { f[one] = ggufFile(t, map[string]any{"split.count": uint64(1 << 63)}, 0) }, one, "want a number of parts"},
	} {
		files := maps.Clone(splitFiles(t))
		tt.change(files)
		_, err := openGGUF(t, tt.file, files)
		wantError(t, err, tt.want)
	}
	if _, err := openGGUF(t, "none.gguf", nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dir/none.gguf") {
		t.Errorf("got %v, want that there is no dir/none.gguf", err)
	}
}

func TestParts(t *testing.T) {
	for file, want := range map[string]string{
		"m.gguf":                   "m.gguf",
		"a/m-00002-of-00002.GGUF":  "a/m-00001-of-00002.GGUF a/m-00002-of-00002.GGUF",
		"m-00003-of-00002.gguf":    "m-00003-of-00002.gguf",
		"m-00000-of-00002.gguf":    "m-00000-of-00002.gguf",
		"m-1-of-2.gguf":            "m-1-of-2.gguf",
		"m-00001-of-00001.gguf.sf": "m-00001-of-00001.gguf.sf",
	} {
		if got := strings.Join(Parts(file), " "); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}
