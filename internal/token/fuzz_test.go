package token

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

func FuzzRoundTrip(f *testing.F) {
	tok := folderTokenizer(f, "tiny")
	for _, seed := range []string{"", "Hello, world", "it's  a\n\n test ", "\xff\xfe\xe4\xbd", "</s><pad>", strings.Repeat("ab", 50), "e\u0301 \u0085\u00a0 \xf0\x9f\x98"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { checkRoundTrip(t, tok, text) })
}

// checkLoaded uses a tokenizer of unknown files; it may fail to load, but what
// loads must work.
func checkLoaded(t *testing.T, fsys fstest.MapFS) {
	t.Helper()
	tok, err := Load(fsys, "fuzz")
	if err != nil {
		if !strings.HasPrefix(strings.TrimPrefix(err.Error(), "tokenizer of "), "fuzz") {
			t.Fatalf("got error %q, want one that names the folder", err)
		}
		return
	}
	checkUse(t, tok)
}

// checkUse encodes and decodes with a tokenizer of unknown files.
func checkUse(t *testing.T, tok *Tokenizer) {
	t.Helper()
	for _, text := range []string{"", "hello world", "</s> <a>\xff ab", strings.Repeat("ab", 60), "▁a é\n 12"} {
		ids := tok.Encode(text, true)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("Encode(%q) = %v with a vocabulary of %d", text, ids, tok.VocabSize())
			}
		}
		checkStream(t, tok, ids)
	}
}

// byteVocab returns a vocab.json of all bytes and more tokens.
func byteVocab(more ...string) []byte {
	vocab := map[string]int32{}
	for i := range 256 {
		vocab[string(byteRune(byte(i)))] = int32(i)
	}
	for i, token := range more {
		vocab[token] = int32(256 + i)
	}
	data, err := json.Marshal(vocab)
	if err != nil {
		panic(err) // a map of strings to ints always marshals
	}
	return data
}

func FuzzVocab(f *testing.F) {
	f.Add(byteVocab("</s>", "ab"), []byte("#version: 0.2\na b\n"))
	f.Add(byteVocab("ab", "abab"), []byte("a b\nab ab"))
	f.Add([]byte(`{"</s>": 0, "a": 1, "b": 2, "ab": 3}`), []byte("a b\r\n"))
	f.Add([]byte(`{"a": -1}`), []byte(""))
	f.Add([]byte(`{"a": 1, "a": 2}`), []byte("a"))
	f.Add([]byte(`{"\u0041\"": 1e9 } x`), []byte("a b c"))
	f.Fuzz(func(t *testing.T, vocab, merges []byte) {
		checkLoaded(t, fstest.MapFS{vocabFile: {Data: vocab}, mergesFile: {Data: merges}})
	})
}

// FuzzIDs holds the reader of JSON ids against encoding/json.
func FuzzIDs(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":2}`, ` { "\u00e9\n" : 0 } `, `{"a":01}`, `{"a":1,}`, `{"a":2147483648}`, `{"\ud800":3}`, `{"a\"b":4}`, "{\"\x01\":1}", `{"a":1}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		got := map[string]int32{}
		err := readIDs(data, func(token string, id int32) error {
			got[token] = id
			return nil
		})
		var want map[string]int32
		wantErr := json.Unmarshal(data, &want)
		if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && err == nil != (wantErr == nil) {
			// encoding/json takes what no vocabulary has: null ids, negative
			// ones, and numbers with an exponent or a zero fraction.
			for _, id := range want {
				if id < 0 {
					return
				}
			}
			if wantErr == nil && bytes.ContainsAny(data, "nueE.-") {
				return
			}
			t.Fatalf("readIDs(%q): %v, encoding/json: %v", data, err, wantErr)
		}
		if err != nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("readIDs(%q) = %v, want %v", data, got, want)
		}
		for token, id := range want {
			if got[token] != id {
				t.Fatalf("readIDs(%q) = %v, want %v", data, got, want)
			}
		}
	})
}

func FuzzTokenizerJSON(f *testing.F) {
	f.Add(readFile(f, "added/tokenizer.json"))
	f.Add([]byte(`{"model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1,"b":2,"ab":3},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"added_tokens":[{"id":9,"content":"<a>","lstrip":true,"special":true}]}`))
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{},"merges":[["a","b"]]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkLoaded(t, fstest.MapFS{tokenizerFile: {Data: data}})
	})
}

// FuzzPipeline loads pipelines of all kinds of steps that are changed anywhere.
func FuzzPipeline(f *testing.F) {
	var pipelines []struct{ Tokenizer json.RawMessage }
	readJSON(f, "pipelines.json.gz", &pipelines)
	for _, p := range pipelines {
		f.Add([]byte(p.Tokenizer))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkLoaded(t, fstest.MapFS{tokenizerFile: {Data: data}})
	})
}

// FuzzGGUF makes tokenizers of metadata of unknown content.
func FuzzGGUF(f *testing.F) {
	f.Add("gpt2", "qwen2", "a\nb\nab", "a b", []byte{1, 1, 1}, []byte{3, 2, 1}, uint32(0))
	f.Add("llama", "", "<s>\n▁\na\n▁a\n<0x41>\n  ", "", []byte{3, 1, 1, 1, 6, 4}, []byte{0, 1, 2, 3, 4, 5}, uint32(9))
	f.Add("llama", "", "a\n<0x88>\n\x88 \nb\xe2\x96\n\x81c", "", []byte{1, 6, 1, 4, 3}, []byte{0, 1, 2, 3, 4}, uint32(2))
	f.Add("gemma4", "", "▁\na\n▁a", "▁ a", []byte{1, 1, 1}, []byte{}, uint32(1))
	f.Add("gpt2", "", "a\nb\nabc", "a b\nab c", []byte{1, 1, 1}, []byte{}, uint32(9))
	f.Fuzz(func(t *testing.T, model, pre, tokens, merges string, types, scores []byte, id uint32) {
		meta := map[string]any{
			ggmlPrefix + "model": model, ggmlPrefix + "pre": pre, ggmlPrefix + "tokens": strings.Split(tokens, "\n"),
			ggmlPrefix + "merges": strings.Split(merges, "\n"), ggmlPrefix + "bos_token_id": id, ggmlPrefix + "unknown_token_id": id,
		}
		var kinds []int32
		for _, b := range types {
			kinds = append(kinds, int32(b))
		}
		var values []float32
		for _, b := range scores {
			values = append(values, float32(b))
		}
		meta[ggmlPrefix+"token_type"], meta[ggmlPrefix+"scores"] = kinds, values
		if tok, err := FromGGUF(meta, "fuzz"); err == nil {
			checkUse(t, tok)
		}
	})
}

func FuzzDeclarations(f *testing.F) {
	f.Add([]byte(`{"bos_token":"</s>","added_tokens_decoder":{"256":{"content":"<a>","special":true}}}`), []byte(`{}`), []byte(`{"<b>":300}`))
	f.Add([]byte(`{"add_bos_token":true,"additional_special_tokens":["<x>"]}`), []byte(`{"eos_token":{"content":"ab","rstrip":true}}`), []byte(`{}`))
	f.Add([]byte(`{"bos_token":null}`), []byte(`{"unk_token":""}`), []byte(`{"":1}`))
	vocab := byteVocab("ab", "</s>")
	f.Fuzz(func(t *testing.T, config, special, added []byte) {
		checkLoaded(t, fstest.MapFS{
			vocabFile: {Data: vocab}, mergesFile: {Data: []byte("a b\n")},
			configFile: {Data: config}, specialFile: {Data: special}, addedTokensFile: {Data: added},
		})
	})
}
