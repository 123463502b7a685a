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

	"github.com/sparseflow/sparseflow/internal/source/gguf"
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
			if testing.Short() && family != "smollm2" && family != "mistral-v3" {
				t.Skip("the large vocabularies take seconds to load")
			}
			t.Parallel()
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

// TestGoldenGGUF holds the tokenizers that GGUF files describe against the
// reference: llama.cpp's own texts, and the models' tokenizer.json.
func TestGoldenGGUF(t *testing.T) {
	for golden, file := range map[string]string{
		"gguf-smollm2": "smollm2-vocab", "gguf-gemma3": "gemma3-vocab", "ggml-vocab-llama-spm": "", "ggml-vocab-phi-3": "",
		"ggml-vocab-gpt-2": "", "ggml-vocab-deepseek-llm": "", "ggml-vocab-llama-bpe": "", "ggml-vocab-qwen35": "",
	} {
		t.Run(golden, func(t *testing.T) {
			if testing.Short() && golden != "gguf-smollm2" && golden != "ggml-vocab-llama-spm" {
				t.Skip("the large vocabularies take seconds to load")
			}
			t.Parallel()
			if file == "" {
				file = golden
			}
			g := readGolden(t, golden)
			tok := sharedGGUF(t, file)
			if strings.HasPrefix(golden, "ggml-vocab") { // no bos is expected
				for _, c := range g.Encode {
					text := c.Text
					// The models' own files say NFC, which llama.cpp leaves out.
					if golden == "ggml-vocab-qwen35" && unicodeForm(nfc)(nil, text) != text {
						continue
					}
					if got := tok.Encode(text, false); !slices.Equal(got, c.IDs) {
						t.Errorf("Encode(%q)\n got %v\nwant %v", text, got, c.IDs)
					}
				}
				return
			}
			g.VocabSize = 0 // tokenizer.json adds a token for images
			g.check(t, tok)
		})
	}
}

func sharedGGUF(tb testing.TB, file string) *Tokenizer {
	tb.Helper()
	data := sharedFile(tb, "tokenizers/gguf/"+file+".gguf.gz")
	h, err := gguf.ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	tok, err := FromGGUF(h.Metadata, file)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

func TestBadGGUF(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{
			ggmlPrefix + "model": "gpt2", ggmlPrefix + "pre": "gpt-2", ggmlPrefix + "tokens": []string{"a", "b", "ab", "<s>"},
			ggmlPrefix + "merges": []string{"a b"}, ggmlPrefix + "token_type": []int32{1, 1, 1, 3}, ggmlPrefix + "bos_token_id": uint32(3),
			ggmlPrefix + "add_bos_token": true, "tokenizer.chat_template": "x", "tokenizer.chat_template.tool_use": "y",
		}
	}
	tok, err := FromGGUF(good(), "f.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("ab<s>b", tok.AddsBOS()), []int32{3, 2, 3, 1}; !slices.Equal(got, want) || !tok.IsSpecial(3) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	plain, _ := tok.ChatTemplate("")
	tools, _ := tok.ChatTemplate("tool_use")
	if plain != "x" || tools != "y" || tok.Roles()["bos_token"] != "<s>" {
		t.Errorf("got templates %q and %q and roles %v", plain, tools, tok.Roles())
	}
	for _, tt := range []struct {
		key   string
		value any
		want  string
	}{
		{"model", "bert", `tokenizer.ggml.model: got "bert", want gpt2, llama or gemma4`},
		{"model", nil, `tokenizer.ggml.model: got ""`},
		{"model", "llama", `tokenizer.ggml.scores: got 0, want one of each of 4 tokens`},
		{"pre", "llama-9", `tokenizer.ggml.pre: got the unknown name "llama-9", want one that llama.cpp 0.5 knows, such as "llama3"`},
		{"tokens", nil, "tokenizer.ggml.tokens: got none"},
		{"tokens", 5, "tokenizer.ggml.tokens: got none"},
		{"token_type", []int32{1}, "tokenizer.ggml.token_type: got 1, want one of each of 4 tokens"},
		{"merges", []string{"a b", "ab"}, `tokenizer.ggml.merges[1]: got "ab", want two tokens`},
		{"merges", []string{""}, `tokenizer.ggml.merges[0]: got ""`},
		{"merges", []string{"a "}, `tokenizer.ggml.merges[0]: got merge "a "`},
	} {
		meta := good()
		meta[ggmlPrefix+tt.key] = tt.value
		if _, err := FromGGUF(meta, "f.gguf"); err == nil || !strings.HasPrefix(err.Error(), "tokenizer of f.gguf: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v: got error %v, want %s", tt.key, tt.value, err, tt.want)
		}
	}
	for _, p := range preTokenizers { // each name's patterns are such as can be run
		for _, name := range p.names {
			meta := good()
			meta[ggmlPrefix+"pre"] = name
			tok, err := FromGGUF(meta, name)
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			if got, err := tok.TryEncode("ab ab\n12345 ab's", false); err != nil || len(got) == 0 || got[0] != 2 {
				t.Errorf("%q: Encode = %v, %v", name, got, err)
			}
		}
	}
}

// Texts end where llama.cpp ends them, whichever of the ends a file names.
func TestGGUFEnds(t *testing.T) {
	for name, c := range map[string]struct {
		tokens []string
		keys   map[string]uint32
		want   []int32
	}{
		"none":               {[]string{"a", "im_end"}, nil, nil},
		"by text alone":      {[]string{"a", "<|endoftext|>", "<|im_end|>"}, nil, []int32{1, 2}},
		"one named":          {[]string{"<|endoftext|>", "a", "<|im_end|>"}, map[string]uint32{"eos": 2}, []int32{0, 2}},
		"another text named": {[]string{"stop", "<|eot_id|>", "turn"}, map[string]uint32{"eos": 0, "eot": 2}, []int32{0, 1, 2}},
		"harmony":            {[]string{"<|return|>", "<|end|>", "<|call|>", "<|endoftext|>", "<|start|>"}, map[string]uint32{"eos": 0}, []int32{0, 2, 3}},
		"no messages":        {[]string{"<|end|>", "<|return|>"}, nil, []int32{0, 1}},
		"solar":              {[]string{"<|flush|>", "<|end|>", "<|calls|>"}, nil, []int32{0, 2}},
		"gemma4":             {[]string{"</s>", "<eos>", "<turn|>", "<|tool_response>"}, nil, []int32{1, 2, 3}},
		"code":               {[]string{"<|fim_pad|>", "[PAD]", "<|repo_name|>", "<|file_sep|>"}, nil, []int32{0, 2, 3}},
		"code, named":        {[]string{"<|fim_pad|>", "x", "<|repo_name|>"}, map[string]uint32{"fim_pad": 1, "fim_rep": 77}, []int32{1, 2}},
	} {
		meta := map[string]any{ggmlPrefix + "model": "gpt2", ggmlPrefix + "tokens": c.tokens}
		for key, id := range c.keys {
			meta[ggmlPrefix+key+"_token_id"] = id
		}
		tok, err := FromGGUF(meta, "f.gguf")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := tok.Ends()
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// Merges of a GGUF may pass through texts that are no tokens. A text that ends as one is
// the tokens of the bytes that spell it, as llama.cpp has it.
func TestGGUFMergesBetween(t *testing.T) {
	for model, c := range map[string]struct {
		tokens, merges []string
		want           map[string][]int32
	}{
		"gpt2": {[]string{"a", "b", "c", "abc", "Ġ", "w"}, []string{"a b", "ab c", "Ġ w"},
			map[string][]int32{"ab": {0, 1}, "abc": {3}, "abca": {3, 0}, " w": {5}, "a w": {0, 5}, "w ": {5, 4}}},
		"gemma4": {[]string{"a", "b", "c", "abc", "▁", "<0x61>", "<0x62>"}, []string{"a b", "ab c"},
			map[string][]int32{"ab": {5, 6}, "abc": {3}, "abab": {5, 6, 5, 6}, "ba": {1, 0}}},
	} {
		tok, err := FromGGUF(map[string]any{ggmlPrefix + "model": model, ggmlPrefix + "tokens": c.tokens, ggmlPrefix + "merges": c.merges}, "f.gguf")
		if err != nil {
			t.Errorf("%s: %v", model, err)
			continue
		}
		for text, want := range c.want {
			if got := tok.Encode(text, false); !slices.Equal(got, want) {
				t.Errorf("%s: %q encodes to %v, want %v", model, text, got, want)
			}
		}
		long := strings.Repeat("abc", shortPiece) + "ab"
		if got, want := tok.Encode(long, false), append(slices.Repeat([]int32{3}, shortPiece), c.want["ab"]...); !slices.Equal(got, want) {
			t.Errorf("%s: a long text encodes to %v, want %v", model, got, want)
		}
	}
}

// TestGGUFTokenTwice shows that both ids of one text decode to it, and that it
// encodes to the first.
func TestGGUFTokenTwice(t *testing.T) {
	tok, err := FromGGUF(map[string]any{
		ggmlPrefix + "model": "gpt2", ggmlPrefix + "tokens": []string{"a", "b", "ab", "ab"}, ggmlPrefix + "merges": []string{"a b"},
	}, "f.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if got, ids := tok.Decode([]int32{2, 3}, false), tok.Encode("ab", false); got != "abab" || !slices.Equal(ids, []int32{2}) {
		t.Errorf("ids 2 and 3 decode to %q, and their text encodes to %v", got, ids)
	}
}
