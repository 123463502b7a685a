package token

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/" + path)
	if err != nil {
		tb.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			tb.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			tb.Fatal(err)
		}
	}
	return data
}

func readJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	if err := json.Unmarshal(readFile(tb, path), v); err != nil {
		tb.Fatal(err)
	}
}

// optFiles is OPT's folder: vocab.json and merges.txt alone.
func optFiles(tb testing.TB) fstest.MapFS {
	return fstest.MapFS{
		vocabFile:  {Data: readFile(tb, "opt/vocab.json.gz")},
		mergesFile: {Data: readFile(tb, "opt/merges.txt.gz")},
	}
}

func mustLoad(tb testing.TB, fsys fstest.MapFS) *Tokenizer {
	tb.Helper()
	t, err := Load(fsys, "test")
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func opt(tb testing.TB) *Tokenizer {
	tb.Helper()
	return mustLoad(tb, optFiles(tb))
}

func folderTokenizer(tb testing.TB, dir string) *Tokenizer {
	tb.Helper()
	t, err := Load(os.DirFS("testdata/"+dir), dir)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// textCase is a text with what the reference makes of it.
type textCase struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Decoded string  `json:"decoded"`
}

func TestGoldenOPT(t *testing.T) {
	tok := opt(t)
	var cases []textCase
	readJSON(t, "opt/golden.json", &cases)
	if len(cases) != 403 {
		t.Fatalf("got %d cases, want 403", len(cases))
	}
	for _, c := range cases {
		if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
		}
		if got, want := tok.Encode(c.Text, true), append([]int32{2}, c.IDs...); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) with bos = %v, want %v", c.Text, got, want)
		}
		if got := tok.Decode(c.IDs, false); got != c.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Decoded)
		}
	}
}

func TestGoldenTiny(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	var cases []struct {
		textCase
		Greedy     []int32 `json:"greedy_40"`
		GreedyText string  `json:"greedy_text"`
	}
	readJSON(t, "tiny/golden.json", &cases)
	for _, c := range cases {
		if got := tok.Encode(c.Text, tok.AddsBOS()); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
		}
		if got := tok.Decode(c.IDs, true); got != c.Text {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Text)
		}
		if got := tok.Decode(c.Greedy, true); got != c.GreedyText {
			t.Errorf("Decode(%v) = %q, want %q", c.Greedy, got, c.GreedyText)
		}
	}
}

func digest(ids []int32) string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, ids)
	return hex.EncodeToString(h.Sum(nil))
}

// TestReference holds a book, long pieces and arbitrary ids against Hugging
// Face's tokenizers library, version 0.23.3.
func TestReference(t *testing.T) {
	var want struct {
		Books map[string]struct {
			Tokens int
			SHA256 string
		}
		Decode, Long []textCase
	}
	readJSON(t, "reference.json", &want)
	book := string(readFile(t, "books.txt.gz"))
	toks := map[string]*Tokenizer{"opt": opt(t), "tiny": folderTokenizer(t, "tiny")}
	for name, tok := range toks {
		ids := tok.Encode(book, false)
		if w := want.Books[name]; len(ids) != w.Tokens || digest(ids) != w.SHA256 {
			t.Errorf("%s: book gives %d tokens of digest %s, want %d of %s", name, len(ids), digest(ids), w.Tokens, w.SHA256)
		}
		if tok.Decode(ids, false) != book {
			t.Errorf("%s: book does not survive encoding and decoding", name)
		}
	}
	for _, c := range want.Long {
		if got := toks["opt"].Encode(c.Text, false); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%.20q...) of %d bytes = %v, want %v", c.Text, len(c.Text), got, c.IDs)
		}
	}
	for _, c := range want.Decode {
		if got := toks["opt"].Decode(c.IDs, false); got != c.Text {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Text)
		}
	}
}

// TestAddedTokens holds a tokenizer.json with every kind of added token against
// the same library.
func TestAddedTokens(t *testing.T) {
	tok := folderTokenizer(t, "added")
	var cases []struct {
		textCase
		WithBOS []int32 `json:"with_bos"`
		Skip    string
	}
	readJSON(t, "added/golden.json", &cases)
	if !tok.AddsBOS() {
		t.Error("AddsBOS() = false, want true: the template begins with </s>")
	}
	for _, c := range cases {
		if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
		}
		if got := tok.Encode(c.Text, true); !slices.Equal(got, c.WithBOS) {
			t.Errorf("Encode(%q) with bos = %v, want %v", c.Text, got, c.WithBOS)
		}
		// The library writes an added token's text through the byte table,
		// which garbles those with a byte's spelling in them.
		if got := tok.Decode(c.WithBOS, true); got != c.Skip && !strings.Contains(c.Text, "naïve") {
			t.Errorf("Decode(%v) = %q, want %q", c.WithBOS, got, c.Skip)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	book := string(readFile(t, "books.txt.gz"))[:20000]
	want := tok.Encode(book, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := tok.Encode(book, true); !slices.Equal(got, want) {
				t.Error("concurrent Encode gives other ids")
			}
			if tok.Decode(want, true) != book {
				t.Error("concurrent Decode gives other text")
			}
		})
	}
	wg.Wait()
}
