package token

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Vocabularies of other projects keep the licences of their models, so they
// lie beside the checkout and not in it.
const sharedDir = "../../../shared"

// sharedFile reads a file beside the checkout, unzipped, or skips the test.
func sharedFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(sharedDir, path))
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("%s is not beside the checkout, in ../shared: these vocabularies may not be part of the project", path)
	}
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

// sharedTokenizer loads a model's tokenizer from beside the checkout.
func sharedTokenizer(tb testing.TB, family string) *Tokenizer {
	tb.Helper()
	dir := "tokenizers/" + family
	entries, err := os.ReadDir(filepath.Join(sharedDir, dir))
	if err != nil {
		sharedFile(tb, dir) // says why the test is skipped
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for _, e := range entries {
		fsys[strings.TrimSuffix(e.Name(), ".gz")] = &fstest.MapFile{Data: sharedFile(tb, dir+"/"+e.Name())}
	}
	tok, err := Load(fsys, family)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// goldenFile is what the reference makes of texts and ids.
type goldenFile struct {
	VocabSize int     `json:"vocab_size"`
	Special   []int32 `json:"special_ids"`
	Encode    []struct {
		Kind, Text  string
		IDs         []int32
		IDsBOS      []int32 `json:"ids_bos"`
		Decoded     *string
		DecodedSkip *string `json:"decoded_skip"`
	}
	Decode []struct {
		IDs         []int32
		Decoded     string
		DecodedSkip *string `json:"decoded_skip"`
	}
	Stream []struct {
		IDs     []int32
		Chunks  []*string
		Decoded string
	}
}

func readGolden(tb testing.TB, name string) goldenFile {
	tb.Helper()
	var g goldenFile
	if err := json.Unmarshal(sharedFile(tb, "golden/tokenizers/"+name+".json"), &g); err != nil {
		tb.Fatal(err)
	}
	if len(g.Encode) == 0 {
		tb.Fatalf("%s: got no texts", name)
	}
	return g
}

// check holds a tokenizer against the reference.
func (g *goldenFile) check(t *testing.T, tok *Tokenizer) {
	for _, c := range g.Encode {
		if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
			t.Errorf("%s: Encode(%q)\n got %v\nwant %v", c.Kind, c.Text, got, c.IDs)
		}
		want := c.IDsBOS
		if want == nil {
			want = c.IDs
		}
		if got := tok.Encode(c.Text, tok.AddsBOS()); !slices.Equal(got, want) {
			t.Errorf("%s: Encode(%q) with specials\n got %v\nwant %v", c.Kind, c.Text, got, want)
		}
		if c.Decoded != nil {
			checkDecode(t, tok, c.IDs, *c.Decoded, c.DecodedSkip)
		}
	}
	for _, c := range g.Decode {
		checkDecode(t, tok, c.IDs, c.Decoded, c.DecodedSkip)
	}
	for _, c := range g.Stream {
		d := tok.NewDecoder()
		var all strings.Builder
		for i, id := range c.IDs {
			got, want := d.Push(id), ""
			if c.Chunks[i] != nil {
				want = *c.Chunks[i]
			}
			if all.WriteString(got); got != want {
				t.Errorf("stream of %v: got %q after %d ids, want %q", c.IDs, got, i+1, want)
			}
		}
		all.WriteString(d.Flush())
		if got := tok.Decode(c.IDs, false); got != c.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Decoded)
		}
	}
	if g.VocabSize > 0 && tok.VocabSize() < g.VocabSize {
		t.Errorf("VocabSize() = %d, want %d", tok.VocabSize(), g.VocabSize)
	}
}

func checkDecode(t *testing.T, tok *Tokenizer, ids []int32, want string, wantSkip *string) {
	t.Helper()
	if got := tok.Decode(ids, false); got != want {
		t.Errorf("Decode(%v)\n got %q\nwant %q", ids, got, want)
	}
	if wantSkip != nil {
		want = *wantSkip
	}
	if got := tok.Decode(ids, true); got != want {
		t.Errorf("Decode(%v) without specials\n got %q\nwant %q", ids, got, want)
	}
}

// TestGoldenFamilies holds the real vocabularies against the reference.
func TestGoldenFamilies(t *testing.T) {
	for _, family := range []string{
		"qwen3", "qwen3.5", "llama3", "llama2", "mistral-v3", "mistral-tekken", "gemma3", "gpt-oss", "deepseek-v3", "smollm2", "olmo2",
	} {
		t.Run(family, func(t *testing.T) {
			g := readGolden(t, family)
			tok := sharedTokenizer(t, family)
			g.check(t, tok)
			var special []int32
			for id := range int32(tok.VocabSize()) {
				if tok.IsSpecial(id) {
					special = append(special, id)
				}
			}
			if !slices.Equal(special, g.Special) {
				t.Errorf("special ids are %v, want %v", special, g.Special)
			}
		})
	}
}
