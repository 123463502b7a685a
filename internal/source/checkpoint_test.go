package source

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// goldenTensor is one line of testdata/sums.txt, written by sums.py.
type goldenTensor struct {
	dtype, shape string
	crc          uint32
	sum          float64
}

// readSums returns the golden tensors by directory and name.
func readSums(t *testing.T) map[string]map[string]goldenTensor {
	f, err := os.Open("testdata/sums.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make(map[string]map[string]goldenTensor)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		crc, err1 := strconv.ParseUint(field[4], 16, 32)
		sum, err2 := strconv.ParseFloat(field[5], 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if all[field[0]] == nil {
			all[field[0]] = make(map[string]goldenTensor)
		}
		all[field[0]][field[1]] = goldenTensor{field[2], field[3], uint32(crc), sum}
	}
	return all
}

func TestGolden(t *testing.T) {
	files := map[string][]string{
		"odd-sizes":                      {"model.safetensors"},
		"post-norm-proj":                 {"model.safetensors"},
		"pytorch-bin":                    {"pytorch_model.bin"},
		"pytorch-bin-sharded-bare-names": {"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"},
		"sharded":                        {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"},
	}
	sums := readSums(t)
	if len(sums) != len(files) {
		t.Fatalf("sums.txt has %d checkpoints, want %d", len(sums), len(files))
	}
	for dir, want := range sums {
		t.Run(dir, func(t *testing.T) {
			c, err := Open(os.DirFS(filepath.Join("testdata", dir)), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.Files(); !slices.Equal(got, files[dir]) {
				t.Errorf("got files %q, want %q", got, files[dir])
			}
			names := c.Names()
			if len(names) != len(want) || !slices.IsSorted(names) {
				t.Fatalf("got %d names, want %d, sorted: %q", len(names), len(want), names)
			}
			for _, name := range names {
				checkGolden(t, c, name, want[name])
			}
			if _, ok := c.Tensor("no.such.tensor"); ok {
				t.Error("got a tensor that is not there")
			}
		})
	}
}

func checkGolden(t *testing.T, c *Checkpoint, name string, want goldenTensor) {
	t.Helper()
	x, ok := c.Tensor(name)
	if !ok || x.Err() != nil {
		t.Fatalf("%s: got %v, %v", name, ok, x.Err())
	}
	n := int64(1)
	var dims []string
	for _, d := range x.Shape {
		n *= d
		dims = append(dims, fmt.Sprint(d))
	}
	raw := readAll(t, x)
	values := make([]float32, n)
	tensor.Decode(values, raw, x.DType)
	var sum, size float64
	for _, v := range values {
		sum += float64(v)
		size += math.Abs(float64(v))
	}
	got := goldenTensor{x.DType.String(), strings.Join(dims, "x"), crc32.ChecksumIEEE(raw), sum}
	if math.Abs(got.sum-want.sum) <= 1e-12*size {
		got.sum = want.sum
	}
	if got != want || x.Name != name || x.Stored != want.dtype {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// Reads at any place agree with the whole, whatever the format, and many
// goroutines may read at once.
func TestReadAtPieces(t *testing.T) {
	for _, dir := range []string{"sharded", "pytorch-bin"} {
		c, err := Open(os.DirFS(filepath.Join("testdata", dir)), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var wg sync.WaitGroup
		for _, name := range c.Names() {
			x, _ := c.Tensor(name)
			whole := readAll(t, x)
			wg.Go(func() {
				for off := int64(0); off < x.Bytes(); off += 61 {
					p := make([]byte, 97)
					n, err := x.ReadAt(p, off)
					rest := whole[off:]
					if len(rest) >= len(p) {
						rest = rest[:len(p)]
						if err != nil {
							t.Errorf("%s at %d: %v", name, off, err)
						}
					} else if err != io.EOF {
						t.Errorf("%s at %d: got %v, want EOF", name, off, err)
					}
					if !slices.Equal(p[:n], rest) {
						t.Errorf("%s at %d: got other bytes", name, off)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestReadAtEdges(t *testing.T) {
	c, err := openFiles(t, map[string][]byte{"model.safetensors": safetensorsFile(t, "a", "b")})
	if err != nil {
		t.Fatal(err)
	}
	x, _ := c.Tensor("b")
	p := make([]byte, 1)
	if n, err := x.ReadAt(p, 8); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d, %v, want EOF", n, err)
	}
	if n, err := x.ReadAt(nil, 8); n != 0 || err != nil {
		t.Errorf("nothing at the end: got %d, %v", n, err)
	}
	_, err = x.ReadAt(p, -1)
	wantError(t, err, "dir/model.safetensors", `"b"`, "offset -1")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A file that shrinks after Open gives an error that says so, and a closed one
// an error too.
func TestReadAtFileGone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(path, safetensorsFile(t, "a", "b"), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Open(os.DirFS(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := c.Tensor("b")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8)
	n, err := x.ReadAt(p, 0)
	if n != 5 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d bytes, want 5", n)
	}
	wantError(t, err, path, `"b"`, "shrank")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = x.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, fs.ErrClosed)
	}
}

func TestOpenPreference(t *testing.T) {
	index := func(file string) []byte { return []byte(`{"weight_map":{"` + file + `":"` + file + `"}}`) }
	all := []struct {
		mark, tensor string
		files        map[string][]byte
	}{
		{"model.safetensors", "st", map[string][]byte{"model.safetensors": safetensorsFile(t, "st")}},
		{"model.safetensors.index.json", "s.safetensors", map[string][]byte{
			"model.safetensors.index.json": index("s.safetensors"), "s.safetensors": safetensorsFile(t, "s.safetensors")}},
		{"pytorch_model.bin", "bin", map[string][]byte{
			"pytorch_model.bin": torchFile(t, pickled(pDict(pStr("bin"), pVector(1))), make([]byte, 4))}},
		{"pytorch_model.bin.index.json", "s.bin", map[string][]byte{
			"pytorch_model.bin.index.json": index("s.bin"),
			"s.bin":                        torchFile(t, pickled(pDict(pStr("s.bin"), pVector(1))), make([]byte, 4))}},
	}
	dir := make(map[string][]byte)
	for _, f := range slices.Backward(all) { // each preferred one joins those before
		for name, data := range f.files {
			dir[name] = data
		}
		c, err := openFiles(t, dir)
		if err != nil {
			t.Fatalf("%s: %v", f.mark, err)
		}
		if got := c.Names(); !slices.Equal(got, []string{f.tensor}) {
			t.Errorf("with %s: got %q, want %q", f.mark, got, f.tensor)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	const index = "model.safetensors.index.json"
	good := safetensorsFile(t, "a")
	cases := []struct {
		name  string
		files map[string][]byte
		want  []string
	}{
		{"nothing there", map[string][]byte{"flax_model.msgpack": {1}},
			[]string{"open dir:", "model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json"}},
		{"a directory instead", map[string][]byte{"model.safetensors/x": {1}}, []string{"dir/model.safetensors", "want a regular one"}},
		{"Git LFS pointer", map[string][]byte{"model.safetensors": []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")},
			[]string{"dir/model.safetensors", "git lfs pull"}},
		{"empty file", map[string][]byte{"model.safetensors": {}}, []string{"dir/model.safetensors", "0 bytes"}},
		{"index not JSON", map[string][]byte{index: []byte("hello")}, []string{"dir/" + index, "JSON"}},
		{"index cut short", map[string][]byte{index: []byte(`{"weight_map":{"a":"s"`)}, []string{"dir/" + index, "JSON"}},
		{"index with more after", map[string][]byte{index: []byte(`{"weight_map":{"a":"s"}}}`)}, []string{"dir/" + index, "after the JSON"}},
		{"index an array", map[string][]byte{index: []byte(`[]`)}, []string{"dir/" + index, "want a JSON object"}},
		{"index without weight_map", map[string][]byte{index: []byte(`{"metadata":{"total_size":1}}`)}, []string{"dir/" + index, "want a weight_map"}},
		{"index deep", map[string][]byte{index: []byte(`{"metadata":` + strings.Repeat("[", 1<<20))}, []string{"dir/" + index, "depth"}},
		{"last weight_map empty", map[string][]byte{index: []byte(`{"weight_map":{"a":"s"},"weight_map":{}}`)}, []string{"dir/" + index, "want a weight_map"}},
		{"file null", map[string][]byte{index: []byte(`{"weight_map":{"a":null}}`)}, []string{"dir/" + index, `"a"`, "want a string"}},
		{"not all shards, no index", map[string][]byte{"model-00001-of-00003.safetensors": good, "model-00002-of-00003.safetensors": good},
			[]string{"open dir:", "2 shards such as model-00001-of-00003.safetensors", "want all 00003"}},
		{"file a number", map[string][]byte{index: []byte(`{"weight_map":{"a":1}}`)}, []string{"dir/" + index, `"a"`, "want a string"}},
		{"file upward", map[string][]byte{index: []byte(`{"weight_map":{"a":"../s"}}`)}, []string{"dir/" + index, `"../s"`, "inside the directory"}},
		{"file upward within", map[string][]byte{index: []byte(`{"weight_map":{"a":"x/../../s"}}`)}, []string{"dir/" + index, "inside the directory"}},
		{"file absolute", map[string][]byte{index: []byte(`{"weight_map":{"a":"/etc/passwd"}}`)}, []string{"dir/" + index, `"/etc/passwd"`, "inside the directory"}},
		{"file absolute on Windows", map[string][]byte{index: []byte(`{"weight_map":{"a":"C:\\s"}}`)}, []string{"dir/" + index, "inside the directory"}},
		{"file empty", map[string][]byte{index: []byte(`{"weight_map":{"a":""}}`)}, []string{"dir/" + index, "inside the directory"}},
		{"bad shard", map[string][]byte{index: []byte(`{"weight_map":{"a":"s"}}`), "s": good[:len(good)-1]}, []string{"read dir/s:", index}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := openFiles(t, c.files)
			wantError(t, err, c.want...)
		})
	}
}

func TestOpenMissing(t *testing.T) {
	_, err := openFiles(t, map[string][]byte{"model.safetensors.index.json": []byte(`{"weight_map":{"a":"s"}}`)})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "open dir/s:") || !strings.Contains(err.Error(), "index.json names") {
		t.Errorf("missing shard: got %v", err)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	if _, err = Open(os.DirFS(gone), gone); !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), gone) != 1 {
		t.Errorf("missing directory: got %v", err)
	}
}

// noReaderAt hides all but the methods of fs.File.
type noReaderAt struct{ fs.FS }

func (n noReaderAt) Open(name string) (fs.File, error) {
	f, err := n.FS.Open(name)
	return struct{ fs.File }{f}, err
}

func TestOpenNotRandomAccess(t *testing.T) {
	_, err := Open(noReaderAt{os.DirFS("testdata/odd-sizes")}, "dir")
	wantError(t, err, "open dir/model.safetensors:", "io.ReaderAt")
}

// The shards say what they hold, whatever the index makes of it: one names
// tensors that no file has, has them in the wrong file, or leaves them out; its
// paths are of another machine. So the transformers library has it.
func TestIndexIsNoAuthority(t *testing.T) {
	shards := map[string][]byte{"s1": safetensorsFile(t, "a", "b"), "s2": safetensorsFile(t, "c", "d", "b"), "x/s3": safetensorsFile(t, "e")}
	for _, c := range []struct {
		name, index, want string
		byShard           map[string]byte // the first byte, which counts a file's tensors
	}{
		{"tensors that no file has", `{"weight_map":{"a":"s1","lm_head.weight":"s1"}}`, "a b", nil},
		{"a tensor in another file", `{"weight_map":{"a":"s2","c":"s1"}}`, "a b c d", map[string]byte{"a": 0, "c": 0}},
		{"tensors left out", `{"weight_map":{"a":"s1"}}`, "a b", nil},
		{"one in two files", `{"weight_map":{"b":"s1","c":"s2"}}`, "a b c d", map[string]byte{"b": 2}},
		{"a file that is not there", `{"weight_map":{"a":"s1","z":"s9"}}`, "a b", nil},
		{"a folder", `{"weight_map":{"e":"x/s3"}}`, "e", nil},
		{"crooked paths", `{"weight_map":{"a":"./s1","c":"x/../s2","e":"x//s3"}}`, "a b c d e", nil},
		{"paths of another machine", `{"weight_map":{"a":"/home/me/opt/s1","c":"C:\\opt\\s2"}}`, "a b c d", nil},
		{"paths upward", `{"weight_map":{"a":"../opt/s1"}}`, "a b", nil},
		{"metadata of all kinds", `{"metadata":{"total_size":1.5e10,"loss":NaN,"x":[Infinity,{"y":-Infinity}]},"more":null,"weight_map":{"a":"s1"}}`, "a b", nil},
		{"equal keys", `{"weight_map":{"q":"nowhere"},"weight_map":{"a":"s2","a":"s1"}}`, "a b", nil},
	} {
		files := maps.Clone(shards)
		files["model.safetensors.index.json"] = []byte(c.index)
		k, err := openFiles(t, files)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(k.Names(), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		for name, first := range c.byShard {
			if x, _ := k.Tensor(name); readAll(t, x)[0] != first {
				t.Errorf("%s: got %s from the wrong shard", c.name, name)
			}
		}
	}
}

// A tensor that is missed is told of with what the index says.
func TestWhy(t *testing.T) {
	c, err := openFiles(t, map[string][]byte{
		"model.safetensors.index.json": []byte(`{"weight_map":{"a":"s1","b":"s1","c":"s2"}}`), "s1": safetensorsFile(t, "a"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"b": "s1, which lacks it", "c": "s2, which is not there", "d": ""} {
		if got := c.Why(name); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q in it", name, got, want)
		}
	}
}

// Shards without an index are found by their names.
func TestShardsWithoutIndex(t *testing.T) {
	bin := func(name string) []byte {
		return torchFile(t, pickled(pDict(pStr(name), pVector(1))), make([]byte, 4))
	}
	for _, files := range []map[string][]byte{
		{"model-00001-of-00002.safetensors": safetensorsFile(t, "a"), "model-00002-of-00002.safetensors": safetensorsFile(t, "b"), "other-00001-of-00003.safetensors": nil},
		{"pytorch_model-00001-of-00002.bin": bin("a"), "pytorch_model-00002-of-00002.bin": bin("b")},
	} {
		c, err := openFiles(t, files)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Names(), " "); got != "a b" || len(c.Files()) != 2 {
			t.Errorf("got %q of %q, want a and b", got, c.Files())
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":482304},"weight_map":{"model.a":"model-00001-of-00002.safetensors","b":"x.bin"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../s"}}`))
	f.Add([]byte(`{"weight_map":{"a":"s","a":"C:\\s"},"x":NaN}`))
	dir := fstest.MapFS{"s": &fstest.MapFile{}, "x/s": &fstest.MapFile{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseIndex(strings.NewReader(string(data)), int64(len(data)))
		if err != nil {
			return
		}
		if len(m) == 0 {
			t.Fatal("got an empty map and no error")
		}
		if m.locate(dir) != nil {
			return
		}
		for _, file := range m {
			if !filepath.IsLocal(file) {
				t.Fatalf("got file %q, want it refused", file)
			}
		}
	})
}
