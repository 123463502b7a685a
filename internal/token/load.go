package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	tokenizerFile   = "tokenizer.json"
	vocabFile       = "vocab.json"
	mergesFile      = "merges.txt"
	configFile      = "tokenizer_config.json"
	specialFile     = "special_tokens_map.json"
	addedTokensFile = "added_tokens.json"
	templateFile    = "chat_template.jinja"
	modelFile       = "tokenizer.model" // SentencePiece's own
)

// maxFileBytes bounds what is read of one file. The largest tokenizer.json in
// use, of 256 000 tokens, has some 35 MB.
const maxFileBytes = 64 << 20

// Files returns the names of all files that Load looks for: what to carry
// along with a model so that its text can be encoded later.
func Files() []string {
	return []string{tokenizerFile, vocabFile, mergesFile, configFile, specialFile, addedTokensFile, templateFile}
}

// Load reads the tokenizer in the top folder of fsys. Errors call that folder
// name. They are fs.ErrNotExist (errors.Is) when it holds neither
// tokenizer.json nor vocab.json nor merges.txt nor tokenizer.model, and only
// then.
func Load(fsys fs.FS, name string) (*Tokenizer, error) {
	f := folder{fsys, name}
	b := newBuilder()
	if err := f.readModel(b); err != nil {
		return nil, err
	}
	d, err := f.readDeclarations()
	if err != nil {
		return nil, err
	}
	if !b.complete {
		if err := b.setSlow(&d); err != nil {
			return nil, f.fail(configFile, err)
		}
	}
	if err := b.declare(d); err != nil {
		return nil, fmt.Errorf("tokenizer of %s: %w", name, err)
	}
	t, err := b.build()
	if err != nil {
		return nil, fmt.Errorf("tokenizer of %s: %w", name, err)
	}
	return t, nil
}

// folder is where the files are.
type folder struct {
	fsys fs.FS
	name string
}

// fail wraps an error, if there is one, with the file that it is about.
func (f folder) fail(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s/%s: %w", strings.TrimSuffix(f.name, "/"), file, err)
}

// read returns a file's bytes, nil if there is no such file.
func (f folder) read(file string) ([]byte, error) {
	r, err := f.fsys.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, f.fail(file, err)
	}
	defer r.Close()
	// A file's size is as its file system says, which may be a pack from
	// elsewhere: the buffer grows with what is really there.
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, f.fail(file, err)
	}
	if len(data) > maxFileBytes {
		return nil, f.fail(file, fmt.Errorf("got more than %d bytes, want a tokenizer file", maxFileBytes))
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// holds reports whether there is such a file.
func (f folder) holds(file string) bool {
	_, err := fs.Stat(f.fsys, file)
	return err == nil
}

// readModel fills b from tokenizer.json, else from vocab.json and merges.txt.
func (f folder) readModel(b *builder) error {
	data, err := f.read(tokenizerFile)
	if err != nil {
		return err
	}
	if data != nil {
		return f.fail(tokenizerFile, b.readTokenizer(data))
	}
	var vocab json.RawMessage
	if err := f.readInto(vocabFile, &vocab); err != nil {
		return err
	}
	merges, err := f.read(mergesFile)
	switch {
	case err != nil:
		return err
	case vocab == nil && merges == nil && f.holds(modelFile):
		return f.fail(modelFile, fmt.Errorf("got this alone, which is not read, want %s beside it: loading the tokenizer with transformers and saving it makes one", tokenizerFile))
	case vocab == nil && merges == nil:
		return fmt.Errorf("%s: got no tokenizer files, want %s, or %s and %s: %w",
			f.name, tokenizerFile, vocabFile, mergesFile, fs.ErrNotExist)
	case vocab == nil:
		return f.fail(vocabFile, fmt.Errorf("got no such file beside %s, want both", mergesFile))
	case merges == nil:
		return f.fail(mergesFile, fmt.Errorf("got no such file beside %s, want both", vocabFile))
	}
	if err := b.readVocab(vocab); err != nil {
		return f.fail(vocabFile, err)
	}
	return f.fail(mergesFile, b.readMerges(string(merges)))
}

// readMerges reads merges.txt: a line "#version: ..." that may be missing,
// then a merge a line, in the order of their ranks.
func (b *builder) readMerges(text string) error {
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		// A carriage return is no part of a token: byte 13 is spelled č.
		line = strings.TrimSuffix(line, "\r")
		if line == "" || number == 1 && strings.HasPrefix(line, "#version") {
			continue
		}
		if err := b.addMergeLine(line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}

// addMergeLine appends the merge of two tokens with a space between.
func (b *builder) addMergeLine(line string) error {
	left, right, _ := strings.Cut(line, " ")
	if strings.Contains(right, " ") {
		return fmt.Errorf("got merge %q, want two tokens with a space between", line)
	}
	return b.addMerge(left, right)
}

// symbol returns the id of a text that takes part in merges: of one that is no token,
// where there may be such, one below noByte.
func (b *builder) symbol(text string) (int32, bool) {
	id, ok := b.vocab[text]
	if ok || b.between == nil {
		return id, ok
	}
	if id, ok = b.between[text]; !ok {
		id = noByte - 1 - int32(len(b.between))
		b.between[strings.Clone(text)] = id
	}
	return id, true
}

// tokensOf returns the tokens that stand for a text that merges end at though it is no
// token: as in llama.cpp those of its bytes, of the text as the file spells it. Others
// are left out.
func (b *builder) tokensOf(text string) (ids []int32) {
	for i := range len(text) {
		token := text[i : i+1]
		if !b.bytes {
			token = fmt.Sprintf("<0x%02X>", text[i])
		}
		if id, ok := b.vocab[token]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// addMerge appends the merge of the next rank.
func (b *builder) addMerge(left, right string) error {
	if left == "" || right == "" {
		return fmt.Errorf("got merge %q, want two tokens with a space between", left+" "+right)
	}
	b.joined = append(append(b.joined[:0], left...), strings.TrimPrefix(right, b.prefix)...)
	l, okLeft := b.symbol(left)
	r, okRight := b.symbol(right)
	id, ok := b.symbol(string(b.joined))
	if !ok || !okLeft || !okRight {
		return fmt.Errorf("got merge %q, want %q, %q and %q all in the vocabulary", left+" "+right, left, right, b.joined)
	}
	b.merges = append(b.merges, merge{l, r, id})
	return nil
}
