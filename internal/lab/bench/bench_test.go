package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow"
	"github.com/sparseflow/sparseflow/internal/config"
)

func TestParseTests(t *testing.T) {
	got, err := ParseTests("pp512, TG128,tg128")
	if want := []Test{{true, 512}, {false, 128}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "pp", "tg0", "tg-1", "pp1x", "pp99999999999999999999", "pp2000000", "p", "tg5,", "xx5", "ppé"} {
		if got, err := ParseTests(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
	b, err := json.Marshal(got)
	var back []Test
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || string(b) != `["pp512","tg128"]` || !slices.Equal(back, got) {
		t.Errorf("JSON: got %s, %v, %v", b, back, err)
	}
	if n := got[0].Context(); n != 512 {
		t.Errorf("pp512: got a context of %d", n)
	}
	if n := got[1].Context(); n != 130 {
		t.Errorf("tg128: got a context of %d, want room for the begin of text and one token more", n)
	}
}

func FuzzParseTests(f *testing.F) {
	f.Add("pp512,tg128")
	f.Add("tg")
	f.Fuzz(func(t *testing.T, s string) {
		tests, err := ParseTests(s)
		if (err == nil) != (len(tests) > 0) {
			t.Fatalf("%q: got %v, %v", s, tests, err)
		}
		for _, x := range tests {
			if back, err := ParseTests(x.String()); err != nil || back[0] != x {
				t.Fatalf("%q: %v is read as %v, %v", s, x, back, err)
			}
		}
	})
}

// A run's order is fixed, whatever the user's: the first mode is the measure
// of the others' output.
func TestParseModes(t *testing.T) {
	got, err := ParseModes("naive,Sparse, dense")
	if want := []Mode{Dense, Sparse, Naive}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for bad, want := range map[string]string{
		"":        "want some of",
		"dense,":  "want some of",
		"resdent": "did you mean resident?",
		"+cache":  "want some of", // of the ablation alone
	} {
		if _, err := ParseModes(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", bad, err, want)
		}
	}
}

// The text of a model without a tokenizer is always the same, that of one with
// a tokenizer is long enough or an error.
func TestForcedText(t *testing.T) {
	p := config.ModelProfile{VocabSize: 5000}
	a, err := ForcedText(p, nil, 300)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := ForcedText(p, nil, 100)
	if len(a.IDs) != 300 || !slices.Equal(a.IDs[:100], b.IDs) {
		t.Error("a shorter text is not the beginning of a longer one")
	}
	tok, err := sparseflow.LoadTokenizer("tiny")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ForcedText(p, tok, 50); err != nil || len(c.IDs) != 50 || c.Name == a.Name {
		t.Errorf("with a tokenizer: got %+v, %v", c, err)
	}
	if _, err := ForcedText(p, tok, 1<<30); err == nil || !strings.Contains(err.Error(), "fewer or shorter --tests") {
		t.Errorf("too long a text: got %v", err)
	}
}

func FuzzParseIDs(f *testing.F) {
	f.Add([]byte("5, 70000\n3"), 2)
	f.Add([]byte("-1 x"), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		ids, err := parseIDs(data, 100, n&15)
		if err == nil && len(ids) != n&15 && (n&15 > 0 || len(ids) == 0) {
			t.Fatalf("got %d ids, want %d", len(ids), n&15)
		}
		for _, id := range ids {
			if id < 0 || id >= 100 {
				t.Fatalf("got id %d of a vocabulary of 100", id)
			}
		}
	})
}

// memFile is a File of bytes that counts its reads.
type memFile struct {
	data  []byte
	align int64
	reads int
}

func (m *memFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	m.reads++
	n := 0
	for _, b := range bufs {
		if (off+int64(n))%m.align != 0 || int64(len(b))%m.align != 0 {
			return n, fs.ErrInvalid
		}
		if off+int64(n+len(b)) > int64(len(m.data)) {
			return n, io.ErrUnexpectedEOF
		}
		n += copy(b, m.data[off+int64(n):])
	}
	return n, nil
}

func (m *memFile) Align() int64                  { return m.align }
func (m *memFile) Stat(int) (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (m *memFile) Close() error                  { return nil }

// Reading in halves or joined brings the same bytes, in two reads or one.
func TestFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		align := rapid.SampledFrom([]int64{1, 512}).Draw(t, "align")
		data := make([]byte, 64*align)
		for i := range data {
			data[i] = byte(i * 31 >> 3)
		}
		off := align * rapid.Int64Range(0, 30).Draw(t, "offset")
		first := align * rapid.Int64Range(0, 30).Draw(t, "first bundle")
		mem := make([]byte, 40*align)
		var bufs [][]byte
		at, units := int64(0), int64(0)
		for range rapid.IntRange(1, 6).Draw(t, "buffers") {
			n := rapid.Int64Range(1, 4).Draw(t, "length")
			at += align * rapid.Int64Range(0, 1).Draw(t, "gap")
			bufs, at, units = append(bufs, mem[at:][:n*align]), at+n*align, units+n
		}
		want := data[off:][:units*align]
		for name, read := range map[string]func(f *memFile) (int, error){
			"halves": func(f *memFile) (int, error) { return splitFile{f, first}.ReadVec(bufs, off) },
			"joined": func(f *memFile) (int, error) { return joinedFile{f}.ReadVec(bufs, off) },
		} {
			clear(mem)
			f := &memFile{data: data, align: align}
			n, err := read(f)
			if got := bytes.Join(bufs, nil); err != nil || n != len(want) || !bytes.Equal(got, want) {
				t.Fatalf("%s: got %d bytes, %v, want %d and the file's", name, n, err, len(want))
			}
			reads := 1
			if name == "halves" && off >= first && units > 1 {
				reads = 2
			}
			if f.reads != reads {
				t.Fatalf("%s: got %d reads, want %d", name, f.reads, reads)
			}
		}
	})
}

// Buffers that lie together are one to the file.
func TestJoinedIsOne(t *testing.T) {
	mem := make([]byte, 6)
	var got []int
	f := &lengthsFile{memFile{data: []byte("abcdef"), align: 1}, &got}
	if _, err := (joinedFile{f}).ReadVec([][]byte{mem[:2], mem[2:3], mem[4:6]}, 0); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []int{3, 2}) || string(mem) != "abc\x00de" {
		t.Errorf("got buffers of %v and %q, want 3 and 2 bytes", got, mem)
	}
}

type lengthsFile struct {
	memFile
	to *[]int
}

func (f *lengthsFile) ReadVec(bufs [][]byte, off int64) (int, error) {
	for _, b := range bufs {
		*f.to = append(*f.to, len(b))
	}
	return f.memFile.ReadVec(bufs, off)
}

func TestMedian(t *testing.T) {
	if got := median([]Rate{{30, 1}, {10, 1}, {20, 1}}); got.PerSecond() != 20 {
		t.Errorf("got %v", got)
	}
	if got := median(nil); got.PerSecond() != 0 {
		t.Errorf("of none: got %v", got)
	}
}
