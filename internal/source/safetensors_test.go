package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

func parseBytes(p []byte) (*SafetensorsHeader, error) {
	return ParseSafetensors(bytes.NewReader(p), int64(len(p)), "x.safetensors")
}

func TestParseSafetensors(t *testing.T) {
	// The offsets run against the order of the keys, and one tensor is empty.
	header := `{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt"},` +
		`"a":{"data_offsets":[0,4],"shape":[],"dtype":"U32"},"e":{"dtype":"NEW_9","shape":[0],"data_offsets":[4,4]}}   `
	got, err := parseBytes(rawSafetensors(header, 16))
	if err != nil {
		t.Fatal(err)
	}
	n := int64(len(header)) + 8
	want := &SafetensorsHeader{
		Metadata: map[string]string{"format": "pt"},
		Entries: []SafetensorsEntry{
			{"a", "U32", []int64{}, n, 4},
			{"e", "NEW_9", []int64{0}, n + 4, 0},
			{"b", "F16", []int64{2, 3}, n + 4, 12},
		},
		HeaderBytes: n,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := parseBytes(rawSafetensors("{}", 0)); err != nil || len(got.Entries) != 0 {
		t.Errorf("no tensors: got %v, %v", got, err)
	}
}

func TestParseSafetensorsErrors(t *testing.T) {
	one := func(body string) string { return `{"a":{` + body + `}}` }
	sized := func(shape, offsets string) string {
		return one(`"dtype":"F32","shape":` + shape + `,"data_offsets":` + offsets)
	}
	two := func(a, b string) string {
		return `{"a":{"dtype":"U8","shape":[4],"data_offsets":` + a + `},"b":{"dtype":"U8","shape":[4],"data_offsets":` + b + `}}`
	}
	cases := []struct {
		name, header string
		dataBytes    int
		want         []string
	}{
		{"not an object", `["a"] `, 0, []string{"JSON object"}},
		{"byte order mark", "\ufeff{}", 0, []string{"JSON"}},
		{"not a number", `{"a":NaN}`, 0, []string{"JSON"}},
		{"trailing comma", `{"a":{},}`, 0, []string{"want each"}},
		{"cut JSON", `{"a":{"dtype":"F3`, 0, []string{"JSON"}},
		{"more after", `{} {}`, 0, []string{"after the JSON object"}},
		{"metadata number", `{"__metadata__":{"a":1}}`, 0, []string{"__metadata__", `"a"`, "got 1, want a string"}},
		{"metadata nested", `{"__metadata__":{"a":{}}}`, 0, []string{"__metadata__", "want a string"}},
		{"metadata string", `{"__metadata__":"a"}`, 0, []string{"__metadata__", "want a JSON object"}},
		{"metadata with a null", `{"__metadata__":{"a":null}}`, 0, []string{"__metadata__", `"a"`, "want a string"}},
		{"tensor twice in two places", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2, []string{`"a"`, "no tensor"}},
		{"deep", `{"a":` + strings.Repeat("[", 1<<20), 0, []string{"header", "depth"}},
		{"deep shape", one(`"shape":` + strings.Repeat("[", 1<<20)), 0, []string{"header", "depth"}},
		{"key missing", one(`"shape":[1],"data_offsets":[0,4]`), 4, []string{`"a"`, "want each"}},
		{"key in capitals", one(`"DType":"F32","shape":[1],"data_offsets":[0,4]`), 4, []string{`"a"`, "want each"}},
		{"entry null", `{"a":null}`, 0, []string{`"a"`, "want a JSON object"}},
		{"dtype number", one(`"dtype":1,"shape":[1],"data_offsets":[0,4]`), 4, []string{"dtype", "want a string"}},
		{"shape negative", sized(`[-1]`, `[0,4]`), 4, []string{"shape", "-1"}},
		{"shape fraction", sized(`[1.0]`, `[0,4]`), 4, []string{"shape", "1.0"}},
		{"shape exponent", sized(`[1e0]`, `[0,4]`), 4, []string{"shape", "1e0"}},
		{"shape string", sized(`["1"]`, `[0,4]`), 4, []string{"shape", `"1"`}},
		{"shape too large", sized(`[9223372036854775808]`, `[0,4]`), 4, []string{"shape", "2^63"}},
		{"shape product wraps", sized(`[4294967296,4294967297]`, `[0,4]`), 4, []string{"shape", "2^63"}},
		{"shape bytes wrap", sized(`[4611686018427387905]`, `[0,4]`), 4, []string{"shape", "2^63"}},
		{"unknown type, product wraps", one(`"dtype":"Z","shape":[4294967296,4294967297],"data_offsets":[0,4]`), 4, []string{"shape", "2^63"}},
		{"shape disagrees", sized(`[2]`, `[0,4]`), 4, []string{`"a"`, "4 bytes, want 8"}},
		{"half a byte", one(`"dtype":"F4","shape":[3],"data_offsets":[0,2]`), 2, []string{"whole number of bytes"}},
		{"one offset", sized(`[1]`, `[0]`), 4, []string{"data_offsets [0]"}},
		{"three offsets", sized(`[1]`, `[0,4,4]`), 4, []string{"data_offsets [0 4 4]"}},
		{"offsets reversed", sized(`[1]`, `[4,0]`), 4, []string{"begin <= end"}},
		{"offset negative", sized(`[1]`, `[-4,0]`), 4, []string{"data_offsets", "-4"}},
		{"offset huge", sized(`[1]`, `[9223372036854775803,9223372036854775807]`), 4, []string{"inside the 4 bytes"}},
		{"offset outside", sized(`[1]`, `[4611686018427387900,4611686018427387904]`), 4, []string{"inside the 4 bytes"}},
		{"data cut short", sized(`[2]`, `[0,8]`), 7, []string{`"a"`, "[0 8]", "inside the 7 bytes", "cut short"}},
		{"data left over", sized(`[2]`, `[0,8]`), 9, []string{"last tensor ends"}},
		{"data without tensors", `{}`, 1, []string{"last tensor ends"}},
		{"overlap", two(`[0,4]`, `[3,7]`), 7, []string{`"b"`, `"a"`, "overlap"}},
		{"same place", two(`[0,4]`, `[0,4]`), 4, []string{"overlap"}},
		{"hole", two(`[0,4]`, `[5,9]`), 9, []string{`"b"`, "no tensor"}},
		{"hole at the start", two(`[1,5]`, `[5,9]`), 9, []string{`"a"`, "no tensor"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseBytes(rawSafetensors(c.header, c.dataBytes))
			wantError(t, err, append(c.want, "read x.safetensors:")...)
		})
	}
}

// What the safetensors library (0.8) reads, odd as it may look.
func TestOddSafetensorsHeaders(t *testing.T) {
	const a = `"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
	for name, header := range map[string]string{
		"metadata null":          `{"__metadata__":null,` + a + `}`,
		"metadata empty":         `{"__metadata__":{},` + a + `}`,
		"metadata key twice":     `{"__metadata__":{"x":"1","x":"2"},` + a + `}`,
		"further key":            `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"strides":[1],"x":{"y":[null,1.5]}}}`,
		"named twice":            `{` + a + `,` + a + `}`,
		"the last of two counts": `{"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},` + a + `}`,
		"white space all over":   "\n\t {" + a + " }  \r\n",
		"empty tensors":          `{"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},` + a + `,"y":{"dtype":"F32","shape":[3,0],"data_offsets":[2,2]}}`,
		"no tensor of any byte":  `{` + a + `,"scalar":{"dtype":"F4","shape":[0,9],"data_offsets":[0,0]}}`,
	} {
		h, err := parseBytes(rawSafetensors(header, 2))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := SafetensorsEntry{"a", "U8", []int64{2}, int64(len(header)) + 8, 2}
		if diff := cmp.Diff(want, byName(h.Entries)["a"]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Every element type is listed; of those that no float32 holds, F64 is read
// too, rounded.
func TestF64(t *testing.T) {
	values := []float64{1, -0.1, 1e300, math.Pi}
	raw := rawSafetensors(`{"w":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}}`, 0)
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	c, err := openFiles(t, map[string][]byte{"model.safetensors": raw})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := c.Tensor("w")
	if w.Err() != nil || w.DType != tensor.F32 || w.Bytes() != 16 {
		t.Fatalf("got %v, %v, %d bytes, want F32 of 16", w.Err(), w.DType, w.Bytes())
	}
	got := readAll(t, w)
	for i, v := range values {
		if x := math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:])); x != float32(v) {
			t.Errorf("element %d: got %v, want %v", i, x, float32(v))
		}
	}
	for off := range int64(16) {
		p := make([]byte, 3)
		n, _ := w.ReadAt(p, off)
		if !bytes.Equal(p[:n], got[off:min(off+3, 16)]) {
			t.Errorf("3 bytes at %d: got %x, want %x", off, p[:n], got[off:])
		}
	}
}

// The length field is judged before anything is allocated by it, so a reader
// that fails on any further read shows the order.
func TestParseSafetensorsLength(t *testing.T) {
	cases := []struct {
		name   string
		length uint64
		size   int64
		want   string
	}{
		{"none", 0, 100, "0 bytes"},
		{"one", 1, 100, "1 bytes"},
		{"beyond the file", 93, 100, "at least 101"},
		{"beyond the limit", maxHeaderBytes + 1, 1 << 40, "at most 100000000"},
		{"wraps", math.MaxUint64, 1 << 40, "at most 100000000"},
		{"short file", 2, 9, "9 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := append(binary.LittleEndian.AppendUint64(nil, c.length), '{')
			_, err := ParseSafetensors(bytes.NewReader(p), c.size, "x")
			wantError(t, err, c.want)
		})
	}
}

// A full-size header on a file that is all holes costs no memory.
func TestParseSafetensorsSparse(t *testing.T) {
	p := append(binary.LittleEndian.AppendUint64(nil, maxHeaderBytes), '{')
	allocs := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseSafetensors(bytes.NewReader(p), 1<<40, "x"); err == nil {
				b.Fatal("got no error")
			}
		}
	})
	if got := allocs.AllocedBytesPerOp(); got > 64<<10 {
		t.Errorf("got %d bytes allocated, want at most 64 KiB", got)
	}
}

// Types that package tensor lacks are listed, and refused only when read.
func TestUnsupportedDType(t *testing.T) {
	raw := rawSafetensors(`{"ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},"w":{"dtype":"BF16","shape":[1],"data_offsets":[16,18]}}`, 18)
	c, err := openFiles(t, map[string][]byte{"model.safetensors": raw})
	if err != nil {
		t.Fatal(err)
	}
	x, ok := c.Tensor("ids")
	if !ok || x.Stored != "I64" || x.Bytes() != 16 || len(x.Shape) != 2 {
		t.Fatalf("got %+v", x)
	}
	wantError(t, x.Err(), "dir/model.safetensors", `"ids"`, "I64", "want F32, F16, BF16 or F64")
	_, err = x.ReadAt(make([]byte, 1), 0)
	wantError(t, err, "dir/model.safetensors", `"ids"`, "I64")
	if w, _ := c.Tensor("w"); w.Err() != nil || len(readAll(t, w)) != 2 {
		t.Errorf("w: got %v", w.Err())
	}
}

// What is written reads back, whatever the names, types, shapes and alignment.
func TestWriteParseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		metadata := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, "metadata")
		names := rapid.SliceOfNDistinct(rapid.String(), 0, 6, rapid.ID[string]).Draw(t, "names")
		align := 8 * rapid.Int64Range(1, 600).Draw(t, "align / 8")
		var entries []SafetensorsEntry
		var want []SafetensorsEntry
		off := int64(0)
		for _, name := range names {
			e := SafetensorsEntry{
				Name:  name,
				DType: rapid.SampledFrom([]string{"F32", "F16", "BF16", "U8", "U32", "I64"}).Draw(t, "dtype"),
				Shape: rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 4).Draw(t, "shape"),
			}
			e.Bytes, _ = shapeBytes(e.Shape, dtypeBits(e.DType))
			entries = append(entries, e)
			want = append(want, SafetensorsEntry{e.Name, e.DType, append([]int64{}, e.Shape...), off, e.Bytes})
			off += e.Bytes
		}
		header, err := BuildHeader(metadata, entries, align)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(header))%align != 0 {
			t.Fatalf("header of %d bytes, want a multiple of %d", len(header), align)
		}
		again, err := BuildHeader(maps.Clone(metadata), entries, align)
		if err != nil || !bytes.Equal(header, again) {
			t.Fatalf("the same arguments gave another header (%v)", err)
		}
		h, err := parseBytes(append(header, make([]byte, off)...))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Offset += int64(len(header))
		}
		// Empty tensors share an offset with the next one, so compare as sets.
		if diff := cmp.Diff(byName(want), byName(h.Entries)); diff != "" || h.HeaderBytes != int64(len(header)) {
			t.Fatalf("header of %d bytes, want %d: %s", h.HeaderBytes, len(header), diff)
		}
		if len(metadata) > 0 && !maps.Equal(h.Metadata, metadata) {
			t.Fatalf("got metadata %q, want %q", h.Metadata, metadata)
		}
	})
}

func byName(entries []SafetensorsEntry) map[string]SafetensorsEntry {
	m := make(map[string]SafetensorsEntry)
	for _, e := range entries {
		m[e.Name] = e
	}
	return m
}

// The header of a published writer comes out byte for byte: key order, no
// spaces, padding to 8.
func TestBuildHeaderBytes(t *testing.T) {
	file, err := os.ReadFile("testdata/odd-sizes/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseBytes(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := BuildHeader(h.Metadata, h.Entries, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, file[:h.HeaderBytes]) {
		t.Errorf("got header %q, want %q", got, file[:h.HeaderBytes])
	}
}

func TestBuildHeaderErrors(t *testing.T) {
	ok := SafetensorsEntry{"a", "U8", []int64{1}, 0, 1}
	cases := []struct {
		name     string
		metadata map[string]string
		entries  []SafetensorsEntry
		align    int64
		want     string
	}{
		{"align 0", nil, nil, 0, "alignment 0"},
		{"align 12", nil, nil, 12, "alignment 12"},
		{"align huge", nil, nil, 1 << 40, "alignment"},
		{"name twice", nil, []SafetensorsEntry{ok, ok}, 8, `"a"`},
		{"name reserved", nil, []SafetensorsEntry{{"__metadata__", "U8", []int64{1}, 0, 1}}, 8, "__metadata__"},
		{"name not text", nil, []SafetensorsEntry{{"\xff", "U8", []int64{1}, 0, 1}}, 8, "UTF-8"},
		{"metadata not text", map[string]string{"a": "\xff"}, nil, 8, "UTF-8"},
		{"size disagrees", nil, []SafetensorsEntry{{"a", "F32", []int64{3}, 0, 11}}, 8, "want 12"},
		{"size negative", nil, []SafetensorsEntry{{"a", "NEW", []int64{3}, 0, -1}}, 8, "-1 bytes"},
		{"shape negative", nil, []SafetensorsEntry{{"a", "U8", []int64{0, -1}, 0, 0}}, 8, "[0 -1]"},
		{"sum wraps", nil, []SafetensorsEntry{{"a", "NEW", []int64{1}, 0, math.MaxInt64}, {"b", "U8", []int64{1}, 0, 1}}, 8, "from offset 9223372036854775807"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := BuildHeader(c.metadata, c.entries, c.align)
			wantError(t, err, c.want)
		})
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(safetensorsFile(f, "a", "b"))
	f.Add(rawSafetensors(` {"__metadata__":null,"e":{"dtype":"F64","shape":[1],"data_offsets":[0,8],"x":1},"e":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 8))
	f.Add(rawSafetensors(`{"__metadata__":{"format":"pt"},"e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Add(rawSafetensors(`{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"X","shape":[],"data_offsets":[3,4]}} `, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseBytes(data)
		if err != nil {
			return
		}
		var all int64
		for _, e := range h.Entries {
			if e.Offset < h.HeaderBytes || e.Bytes < 0 || e.Offset+e.Bytes > int64(len(data)) {
				t.Fatalf("got %+v in a file of %d bytes", e, len(data))
			}
			if want, ok := shapeBytes(e.Shape, dtypeBits(e.DType)); dtypeBits(e.DType) > 0 && (!ok || want != e.Bytes) {
				t.Fatalf("got %+v, want %d bytes", e, want)
			}
			all += e.Bytes
		}
		if h.HeaderBytes+all != int64(len(data)) || len(byName(h.Entries)) != len(h.Entries) {
			t.Fatalf("got %d bytes of header and %d of tensors in a file of %d", h.HeaderBytes, all, len(data))
		}
		c, err := openFiles(t, map[string][]byte{"model.safetensors": data})
		if err != nil {
			t.Fatalf("the header parses but Open says %v", err)
		}
		for _, name := range c.Names() {
			if x, _ := c.Tensor(name); x.Err() == nil {
				readAll(t, x)
			}
		}
	})
}

// ExampleBuildHeader writes a container with a page-aligned start.
func ExampleBuildHeader() {
	h, err := BuildHeader(map[string]string{"format": "pt"}, []SafetensorsEntry{{"w", "F16", []int64{2, 4}, 0, 16}}, 4096)
	fmt.Println(len(h), string(bytes.TrimRight(h[8:], " ")), err)
	// Output: 4096 {"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,4],"data_offsets":[0,16]}} <nil>
}
