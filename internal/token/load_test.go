package token

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// with returns base with files changed; a nil content removes one.
func with(base fstest.MapFS, files map[string][]byte) fstest.MapFS {
	m := maps.Clone(base)
	for name, data := range files {
		if data == nil {
			delete(m, name)
		} else {
			m[name] = &fstest.MapFile{Data: data}
		}
	}
	return m
}

// role is an id accessor's result in one value, -1 for no id.
func role(id int32, ok bool) int32 {
	if !ok {
		return -1
	}
	return id
}

// TestRoles covers who decides which tokens are special.
func TestRoles(t *testing.T) {
	type files = map[string]string
	fairseq := []string{"<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"} // from 256
	for _, tt := range []struct {
		name               string
		vocab              []string
		files              files
		bos, eos, unk, pad int32
		addsBOS            bool
		special            []int32
	}{
		{"OPT vocabulary alone", fairseq, nil, 258, 258, 258, 257, true, []int32{256, 257, 258, 259, 260}},
		{"GPT-2 vocabulary alone", []string{"<|endoftext|>"}, nil, 256, 256, 256, -1, false, []int32{256}},
		{"no known token", nil, nil, -1, -1, -1, -1, false, nil},
		{"settings without tokens", fairseq, files{configFile: `{"model_max_length": 5}`}, 258, 258, 258, 257, true, []int32{256, 257, 258, 259, 260}},
		{"OPT's files", fairseq, files{
			configFile:  `{"tokenizer_class": "GPT2Tokenizer", "errors": "replace", "add_bos_token": true, "unk_token": {"content": "</s>", "__type": "AddedToken"}}`,
			specialFile: `{"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}`,
		}, 258, 258, 258, 257, true, []int32{257, 258}},
		{"special_tokens_map goes first", fairseq, files{
			configFile:  `{"bos_token": "<s>", "pad_token": "<pad>", "add_bos_token": false}`,
			specialFile: `{"bos_token": "<unk>"}`,
		}, 259, 258, 258, 257, false, []int32{257, 258, 259}},
		{"added_tokens_decoder stands alone", fairseq, files{
			configFile:      `{"bos_token": "<s>", "added_tokens_decoder": {"259": {"content": "<unk>", "special": false}, "300": {"content": "<new>", "special": true}}}`,
			specialFile:     `{"bos_token": "<unk>"}`,
			addedTokensFile: `{"<other>": 301}`,
		}, 256, 258, 258, -1, false, []int32{256, 258, 300}},
		{"null is no token", fairseq, files{configFile: `{"bos_token": null, "unk_token": null, "eos_token": "</s>", "add_bos_token": true}`}, -1, 258, -1, -1, false, []int32{258}},
		{"a new token gets the next id", []string{"<|endoftext|>"}, files{specialFile: `{"pad_token": "[PAD]"}`}, 256, 256, 256, 257, false, []int32{256, 257}},
		{"added tokens are special by role", []string{"<|endoftext|>"}, files{
			addedTokensFile: `{"[PAD]": 258, "<tool>": 257}`, specialFile: `{"pad_token": "[PAD]", "additional_special_tokens": []}`,
		}, 256, 256, 256, 258, false, []int32{256, 258}},
		{"additional tokens", fairseq, files{configFile: `{"additional_special_tokens": ["<mask>", {"content": "<unk>"}]}`}, 258, 258, 258, -1, true, []int32{258, 259, 260}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{vocabFile: {Data: byteVocab(tt.vocab...)}, mergesFile: {Data: nil}}
			for name, text := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte(text)}
			}
			tok := mustLoad(t, fsys)
			got := []int32{role(tok.BOS()), role(tok.EOS()), role(tok.Unk()), role(tok.Pad())}
			if want := []int32{tt.bos, tt.eos, tt.unk, tt.pad}; !slices.Equal(got, want) {
				t.Errorf("bos, eos, unk, pad = %v, want %v", got, want)
			}
			if tok.AddsBOS() != tt.addsBOS {
				t.Errorf("AddsBOS() = %v, want %v", tok.AddsBOS(), tt.addsBOS)
			}
			var special []int32
			for id := range int32(tok.VocabSize()) {
				if tok.IsSpecial(id) {
					special = append(special, id)
				}
			}
			if !slices.Equal(special, tt.special) {
				t.Errorf("special ids are %v, want %v", special, tt.special)
			}
			for _, id := range tt.special {
				text, _ := tok.Token(id)
				if got := tok.Encode("a"+text+"b", false); len(got) != 3 || got[1] != id {
					t.Errorf("Encode of %q = %v, want id %d in the middle", text, got, id)
				}
				if got := tok.Decode([]int32{97, id, 98}, true); got != tok.Decode([]int32{97, 98}, false) {
					t.Errorf("Decode without special tokens = %q", got)
				}
			}
			if got := tok.Encode("", true); tt.bos >= 0 && !slices.Equal(got, []int32{tt.bos}) || tt.bos < 0 && len(got) > 0 {
				t.Errorf(`Encode("") with bos = %v`, got)
			}
		})
	}
}

func TestMissingBytesBecomeUnk(t *testing.T) {
	tok := mustLoad(t, fstest.MapFS{
		vocabFile:  {Data: []byte(`{"<unk>": 0, "a": 1, "b": 2, "ab": 3}`)},
		mergesFile: {Data: []byte("a b")},
		configFile: {Data: []byte(`{"unk_token": "<unk>"}`)},
	})
	for text, want := range map[string][]int32{
		"abxab":                         {3, 0, 3},
		"xé":                            {0, 0, 0},
		strings.Repeat("ab", 40) + "xa": append(slices.Repeat([]int32{3}, 40), 0, 1),
	} {
		if got := tok.Encode(text, false); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestAccessors(t *testing.T) {
	tok := opt(t)
	if got := tok.VocabSize(); got != 50265 {
		t.Errorf("VocabSize() = %d, want 50265", got)
	}
	for id, want := range map[int32]string{2: "</s>", 5: " the", 50118: "\n", 50264: "<mask>", 0: "<s>"} {
		if got, ok := tok.Token(id); got != want || !ok {
			t.Errorf("Token(%d) = %q, %v, want %q", id, got, ok, want)
		}
	}
	for _, id := range []int32{-1, 50265, 1 << 30, -1 << 31} {
		if got, ok := tok.Token(id); ok || tok.IsSpecial(id) {
			t.Errorf("Token(%d) = %q, %v, want none", id, got, ok)
		}
	}
	if got := tok.Decode([]int32{31414, 50270, -7, 328}, false); got != "Hello!" {
		t.Errorf("Decode with ids that name no token = %q, want %q", got, "Hello!")
	}
	gaps := mustLoad(t, fstest.MapFS{
		vocabFile: {Data: byteVocab("</s>", "Ġ€")}, mergesFile: {}, addedTokensFile: {Data: []byte(`{"éé": 300}`)},
	})
	if got, _ := gaps.Token(257); got != "Ġ€" {
		t.Errorf("token that spells no bytes = %q, want its own text", got)
	}
	if got, ok := gaps.Token(299); ok {
		t.Errorf("Token of an unused id = %q, want none", got)
	}
	if got := gaps.Decode([]int32{299, 300}, true); got != "éé" || gaps.VocabSize() != 301 {
		t.Errorf("added token decodes to %q of %d, want %q of 301", got, gaps.VocabSize(), "éé")
	}
}

func TestNoFiles(t *testing.T) {
	for _, fsys := range []fstest.MapFS{{}, {configFile: {Data: []byte(`{}`)}, "model.safetensors": {}}} {
		if _, err := Load(fsys, "some/dir"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "some/dir") {
			t.Errorf("got error %v, want fs.ErrNotExist that names some/dir", err)
		}
	}
	_, err := Load(fstest.MapFS{modelFile: {}}, "some/dir")
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "some/dir/tokenizer.model: got this alone") {
		t.Errorf("got error %v, want one about tokenizer.model", err)
	}
	for _, missing := range []string{vocabFile, mergesFile} {
		fsys := with(fstest.MapFS{vocabFile: {Data: byteVocab("</s>")}, mergesFile: {}}, map[string][]byte{missing: nil})
		if _, err := Load(fsys, "d"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "d/"+missing) {
			t.Errorf("got error %v, want one about d/%s that is not fs.ErrNotExist", err, missing)
		}
	}
}

func TestFiles(t *testing.T) {
	if got := Files(); len(got) != 7 || !slices.Contains(got, tokenizerFile) || !slices.Contains(got, mergesFile) {
		t.Errorf("Files() = %v", got)
	}
}

// brokenFS fails to open one file.
type brokenFS struct {
	fs.FS
	name string
}

var errBroken = errors.New("broken")

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == b.name {
		return nil, errBroken
	}
	return b.FS.Open(name)
}

func TestUnreadableFiles(t *testing.T) {
	good := fstest.MapFS{vocabFile: {Data: byteVocab("</s>")}, mergesFile: {}}
	for _, name := range Files() {
		_, err := Load(brokenFS{good, name}, "d")
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "d/"+name) {
			t.Errorf("got error %v, want %v of d/%s", err, errBroken, name)
		}
	}
}

func TestHugeFile(t *testing.T) {
	_, err := Load(fstest.MapFS{tokenizerFile: {Data: make([]byte, maxFileBytes+1)}}, "d")
	if err == nil || !strings.Contains(err.Error(), "d/tokenizer.json: got more than") {
		t.Errorf("got error %v, want one about the size", err)
	}
}

func TestBadFiles(t *testing.T) {
	good := fstest.MapFS{vocabFile: {Data: byteVocab("</s>", "ab")}, mergesFile: {Data: []byte("#version: 0.2\na b\n")}}
	mustLoad(t, good)
	mustLoad(t, with(good, map[string][]byte{addedTokensFile: []byte(`{"<x>": 65794}`)}))
	for _, tt := range []struct{ file, data, want string }{
		{vocabFile, ``, `vocab.json: line 1: unexpected end of JSON input`},
		{vocabFile, `[1]`, `vocab.json: line 1: got [1], want an object of token to id`},
		{vocabFile, "{\n\"a\": 1,\n\"b\" 2}", `vocab.json: line 3: invalid character '2' after object key`},
		{vocabFile, "{\"a\": 1,\n", `vocab.json: line 2: unexpected end of JSON input`},
		{vocabFile, `{"a": 1`, `vocab.json: line 1: unexpected end of JSON input`},
		{vocabFile, `{"a": 1} {}`, `vocab.json: line 1: invalid character '{' after top-level value`},
		{vocabFile, `{"a`, `vocab.json: line 1: unexpected end of JSON input`},
		{vocabFile, `{"a\`, `vocab.json: line 1: invalid character`},
		{vocabFile, `{"a\x": 1}`, `vocab.json: line 1: invalid character 'x' in string escape code`},
		{vocabFile, `{"a": "1"}`, `line 1: key "a": got "1", want an id from 0`},
		{vocabFile, `{"a": -1}`, `key "a": got -1, want an id from 0`},
		{vocabFile, `{"a": 99999999999999999999}`, `key "a": got 99999999999999999999, want an id from 0 to 2147483647`},
		{vocabFile, `{"a": 1.5}`, `key "a": got 1.5, want an id from 0`},
		{vocabFile, `{"a": 1, "a": 2}`, `key "a": got it twice`},
		{vocabFile, `{"a": 7, "b": 7, "ab": 8}`, `got id 7 for both "a" and "b"`},
		{vocabFile, `{"a": 1, "b": 2, "ab": 2147483647}`, `got id 2147483647 with 3 tokens, want at most 65536 unused ids`},
		{vocabFile, `{"a": 1, "b": 2, "ab": 3}`, `without byte 0x00 and without unk_token`},
		{vocabFile, `{"a": 1, "b": 2}`, `merges.txt: line 2: got merge "a b", want "a", "b" and "ab" all in`},
		{mergesFile, "#version: 0.2\na b\n\nb a\n", `merges.txt: line 4: got merge "b a", want "b", "a" and "ba" all in`},
		{mergesFile, "a b\n#version: 0.2", `line 2: got merge "#version: 0.2", want "#version:"`},
		{mergesFile, "a b\nab", `merges.txt: line 2: got merge "ab ", want two tokens`},
		{mergesFile, "a b\n ab", `line 2: got merge " ab", want two tokens`},
		{mergesFile, "a  b", `line 1: got merge "a  b"`},
		{mergesFile, "a b c", `line 1: got merge "a b c", want two tokens`},
		{configFile, "{\n\"add_bos_token\": 1}", `tokenizer_config.json: line 2: key "add_bos_token": got a JSON number, want true or false`},
		{configFile, "{\n\n,", `tokenizer_config.json: line 3: invalid character`},
		{configFile, `{"tokenizer_class": "Qwen2Tokenizer"}`, `tokenizer_class: got "Qwen2Tokenizer", want GPT2Tokenizer`},
		{configFile, `{"chat_template": 5}`, `chat_template: got 5, want a text or a list`},
		{configFile, `{"added_tokens_decoder": {"x": "a"}}`, `added_tokens_decoder: got id "x"`},
		{configFile, `{"added_tokens_decoder": {"-1": "a"}}`, `added_tokens_decoder: got id "-1"`},
		{configFile, `{"added_tokens_decoder": {"256": "<x>"}}`, `tokenizer_config.json: got id 256 for both "</s>" and "<x>"`},
		{configFile, `{"added_tokens_decoder": {"300": "</s>"}}`, `token "</s>": got id 300, want 256`},
		{specialFile, `{"bos_token": 5}`, `special_tokens_map.json: got token 5, want a string`},
		{specialFile, `{"bos_token": {"lstrip": true}}`, `want a string or an object with content`},
		{specialFile, `{"bos_token": "x"`, `special_tokens_map.json: line 1: unexpected end`},
		{addedTokensFile, `{"</s>": 9}`, `added_tokens.json: token "</s>": got id 9, want 256`},
		{addedTokensFile, `{"<x>": 2000000000}`, `got id 2000000000 with 259 tokens`},
		{addedTokensFile, `{"<x>": 65795}`, `got id 65795 with 259 tokens, want at most 65536 unused ids`},
		{addedTokensFile, `{"": 300}`, `added token without text for id 300`},
		{addedTokensFile, `{"x": true}`, `added_tokens.json: line 1: key "x": got true, want an id`},
	} {
		_, err := Load(with(good, map[string][]byte{tt.file: []byte(tt.data)}), "some/dir")
		if err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "tokenizer of "), "some/dir") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s:\n got %v\nwant %s", tt.file, tt.data, err, tt.want)
		}
	}
}

func TestBadTokenizerJSON(t *testing.T) {
	const good = `{"normalizer": null, "pre_tokenizer": {"type": "ByteLevel"}, "post_processor": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"},
"added_tokens": [{"id": 0, "content": "<u>"}],
"model": {"type": "BPE", "unk_token": "<u>", "vocab": {"<u>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]}}`
	tok := mustLoad(t, fstest.MapFS{tokenizerFile: {Data: []byte(good)}})
	if got, want := tok.Encode("abcab<u>", tok.AddsBOS()), []int32{3, 0, 3, 0}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	// Where tokenizer.json states how text is cut, the class does not matter.
	mustLoad(t, fstest.MapFS{tokenizerFile: {Data: []byte(good)}, configFile: {Data: []byte(`{"tokenizer_class": "CodeGenTokenizer"}`)}})
	for _, tt := range []struct{ old, new, want string }{
		{`"BPE"`, `"WordPiece"`, `model.type: got "WordPiece", want BPE`},
		{`"BPE"`, `"Unigram"`, `model.type: got "Unigram", want BPE`},
		{`"BPE"`, `7`, `line 3: key "model.type": got a JSON number, want a string`},
		{`"BPE"`, `"BPE", "byte_fallback": true`, `model: got byte_fallback true`},
		{`"BPE"`, `"BPE", "dropout": 0.1`, `model.dropout: got 0.1`},
		{`"BPE"`, `"BPE", "continuing_subword_prefix": "##"`, `continuing_subword_prefix "##"`},
		{`"BPE"`, `"BPE", "end_of_word_suffix": "</w>"`, `end_of_word_suffix "</w>"`},
		{`"vocab"`, `"words"`, `model.vocab: got none`},
		{`"b": 2`, `"b": -2`, `model.vocab: line 1: key "b": got -2, want an id`},
		{`"a b"`, `"a c"`, `model.merges[0]: got merge "a c", want`},
		{`"a b"`, `["a"]`, `model.merges[0]: got ["a"], want two tokens`},
		{`"a b"`, `5`, `model.merges[0]: got 5, want two tokens`},
		{`"a b"`, `"a b c"`, `model.merges[0]: got merge "a b c", want two tokens`},
		{`"normalizer": null`, `"normalizer": {"type": "Fold"}`, `normalizer: got "Fold", want one of ByteLevel, Lowercase`},
		{`"normalizer": null`, `"normalizer": {"type": "Sequence", "normalizers": [` + strings.TrimSuffix(strings.Repeat(`{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},`, 40), ",") + `]}`, `normalizer: Replace: got steps that make a text more than 4096 times as long`},
		{`"normalizer": null`, `"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA"}`, `normalizer: got "Precompiled", want one of`},
		{`{"type": "ByteLevel"}, "post`, `{"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]}, "post`, `pre_tokenizer: got "UnicodeScripts", want one of BertPreTokenizer, ByteLevel`},
		{`{"type": "ByteLevel"}, "post`, `{"type": "Split"}, "post`, `pre_tokenizer: Split: got no pattern`},
		{`{"type": "ByteLevel"}, "post`, `{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}, "post`, `pre_tokenizer: Split: pattern "(a" at byte 2: got a group without`},
		{`{"type": "ByteLevel"}, "post`, `{"type": "Split", "pattern": {"String": "a"}, "behavior": "Kept"}, "post`, `pre_tokenizer: Split: behavior: got "Kept", want one of Contiguous`},
		{`{"type": "ByteLevel"}, "post`, `{"type": "Metaspace", "replacement": "ab"}, "post`, `pre_tokenizer: Metaspace: replacement: got "ab"`},
		{`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "WordPiece"}`, `decoder: got "WordPiece", want one of`},
		{`"post_processor": {"type": "ByteLevel"}`, `"post_processor": {"type": "RobertaProcessing"}`, `post_processor: RobertaProcessing: got no cls or sep`},
		{`"post_processor": {"type": "ByteLevel"}`, `"post_processor": {"type": "Other"}`, `post_processor: got "Other", want one of BertProcessing`},
		{`"post_processor": {"type": "ByteLevel"}`, `"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "a"}}]}`, `post_processor: TemplateProcessing.single[1]: got token "a" without ids`},
		{`"post_processor": {"type": "ByteLevel"}`, `"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a"}}], "special_tokens": {"a": {"ids": [1]}}}`, `TemplateProcessing.single: got a text 0 times`},
		{`"post_processor": {"type": "ByteLevel"}`, `"post_processor": {"type": "BertProcessing", "cls": ["a", 1], "sep": ["b", 9]}`, `got special tokens [1] and [9] around the text, want ids below 4`},
		{`"id": 0, "content"`, `"content"`, `added_tokens[0]: token "<u>": got no id`},
		{`"id": 0`, `"id": 5000000000`, `added_tokens[0]: token "<u>": got no id`},
		{`"content": "<u>"`, `"text": "<u>"`, `added_tokens[0]: got token`},
		{`["a b"]}}`, ``, `line 3: unexpected end of JSON input`},
	} {
		data := strings.Replace(good, tt.old, tt.new, 1)
		if data == good {
			t.Fatalf("%s is not in the file", tt.old)
		}
		_, err := Load(fstest.MapFS{tokenizerFile: {Data: []byte(data)}}, "d")
		if err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "tokenizer of "), "d") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s:\n got %v\nwant %s", tt.new, tt.old, err, tt.want)
		}
	}
}

// TestTemplate shows that the template's token is bos, whatever the vocabulary
// would suggest.
func TestTemplate(t *testing.T) {
	data := strings.NewReplacer(`"id": "</s>"`, `"id": "<s>"`, `"</s>": {`, `"<s>": {`, "\"ids\": [\n          1", "\"ids\": [\n          0").
		Replace(string(readFile(t, "added/tokenizer.json")))
	tok := mustLoad(t, fstest.MapFS{tokenizerFile: {Data: []byte(data)}})
	if got := role(tok.BOS()); got != 0 || !tok.AddsBOS() {
		t.Errorf("BOS() = %d, AddsBOS() = %v, want 0, true", got, tok.AddsBOS())
	}
	if got := role(tok.EOS()); got != 1 {
		t.Errorf("EOS() = %d, want 1", got)
	}
}

func TestMergesOfDOS(t *testing.T) {
	tok := mustLoad(t, fstest.MapFS{
		vocabFile: {Data: byteVocab("ab", "abc")}, mergesFile: {Data: []byte("#version: 0.2\r\na b\r\nab c\r\n")},
	})
	if got := tok.Encode("abc", false); !slices.Equal(got, []int32{257}) {
		t.Errorf("Encode = %v, want 257", got)
	}
}

// TestSingleWordSkipsItsText shows that a token found beside a word character
// is passed over whole: added tokens within it are not found either.
func TestSingleWordSkipsItsText(t *testing.T) {
	s := newAddedSet([]addedToken{{text: "word", id: 1, singleWord: true}, {text: "or", id: 2}})
	var got []addedPart
	s.each("sword or", func(p addedPart) { got = append(got, p) })
	if want := []addedPart{{0, 6, none}, {6, 8, 2}}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// TestTokenizerJSONFirst shows that tokenizer.json decides where both are.
func TestTokenizerJSONFirst(t *testing.T) {
	fsys := with(optFiles(t), map[string][]byte{tokenizerFile: readFile(t, "added/tokenizer.json")})
	if got := mustLoad(t, fsys).VocabSize(); got > 500 {
		t.Errorf("VocabSize() = %d, want that of tokenizer.json", got)
	}
}

// TestLongWords bounds the time for pieces that a scan of all pairs would take
// hours for.
func TestLongWords(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	start := time.Now()
	for _, text := range []string{strings.Repeat("a", 1<<20), strings.Repeat("the", 1<<16), strings.Repeat(" ", 1<<18), strings.Repeat("=-", 1<<17)} {
		if got := tok.Decode(tok.Encode(text, false), false); got != text {
			t.Errorf("%d bytes of %q do not survive", len(text), text[:3])
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("4 long words took %v, want O(n log n)", took)
	}
}

// TestAddedTokensAlike has added tokens whose text is the same once it is
// normalized. The library takes any one of them; here it is the first.
func TestAddedTokensAlike(t *testing.T) {
	s := newAddedSet([]addedToken{{text: "ab", id: 1}, {text: "abc", id: 2}, {text: "ab", id: 3}, {text: "abc", id: 4}})
	var got []addedPart
	s.each("abcab", func(p addedPart) { got = append(got, p) })
	if want := []addedPart{{0, 3, 2}, {3, 5, 1}}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
