package token

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/suggest"
	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// The kinds of tokens in tokenizer.ggml.token_type.
const (
	ggmlNormal      = 1
	ggmlUnknown     = 2
	ggmlControl     = 3
	ggmlUserDefined = 4
)

const ggmlPrefix = "tokenizer.ggml."

// FromGGUF makes the tokenizer that the metadata of a GGUF file describe: the
// keys that begin with tokenizer. Arrays are []string, []float32, or slices of
// integers, and numbers of any type of integer. Errors call the file name.
//
// The pipeline is that of the model's own tokenizer.json as far as the names
// in the file tell it; it normalizes Unicode where that does, though llama.cpp
// does not.
func FromGGUF(metadata map[string]any, name string) (*Tokenizer, error) {
	g := ggufDecls{metadata, newBuilder()}
	t, err := g.load()
	if err != nil {
		return nil, fmt.Errorf("tokenizer of %s: %w", name, err)
	}
	return t, nil
}

// ggufDecls is what a GGUF file says, and what is made of it.
type ggufDecls struct {
	metadata map[string]any
	b        *builder
}

// ggufValue returns the value of a key, zero where there is none or of another
// type.
func ggufValue[T any](g *ggufDecls, key string) T {
	v, _ := g.metadata[ggmlPrefix+key].(T)
	return v
}

// integer returns a number of any type of integer.
func integer(v any) (int64, bool) {
	switch n := reflect.ValueOf(v); {
	case n.CanInt():
		return n.Int(), true
	case n.CanUint():
		return int64(n.Uint()), n.Uint() <= math.MaxInt64
	}
	return 0, false
}

// flag returns a setting, or a default where the file leaves it out.
func (g *ggufDecls) flag(key string, missing bool) bool {
	if v, ok := g.metadata[ggmlPrefix+key].(bool); ok {
		return v
	}
	return missing
}

// id returns the token of a role, none where the file has none or one out of
// range.
func (g *ggufDecls) id(key string) int32 {
	v, ok := integer(g.metadata[ggmlPrefix+key])
	if !ok || v < 0 || v >= int64(len(ggufValue[[]string](g, "tokens"))) {
		return none
	}
	return int32(v)
}

func (g *ggufDecls) load() (*Tokenizer, error) {
	tokens := ggufValue[[]string](g, "tokens")
	if len(tokens) == 0 {
		return nil, errors.New(ggmlPrefix + "tokens: got none, want the vocabulary")
	}
	g.b.complete = true
	var addBOS bool
	var err error
	switch model := ggufValue[string](g, "model"); model {
	case "gpt2":
		addBOS, err = g.byteLevel()
	case "llama":
		addBOS = true
		err = g.sentencePiece()
	case "gemma4":
		addBOS = true
		err = g.gemma4()
	default:
		err = fmt.Errorf("%smodel: got %q, want gpt2, llama or gemma4", ggmlPrefix, model)
	}
	if err != nil {
		return nil, err
	}
	g.setRoles(addBOS)
	return g.b.build()
}

// types returns the kind of each token.
func (g *ggufDecls) types(n int) ([]int32, error) {
	var types []int32
	switch v := g.metadata[ggmlPrefix+"token_type"].(type) {
	case nil:
		return slices.Repeat([]int32{ggmlNormal}, n), nil
	case []int32:
		types = v
	case []uint32:
		for _, t := range v {
			types = append(types, int32(t))
		}
	}
	if len(types) != n {
		return nil, fmt.Errorf("%stoken_type: got %d, want one of each of %d tokens", ggmlPrefix, len(types), n)
	}
	return types, nil
}

// addTokens takes the vocabulary. spelling says how a token that is looked for
// in the text is spelled there, and text how in the vocabulary.
func (g *ggufDecls) addTokens(text func(token string, kind int32) string) error {
	tokens := ggufValue[[]string](g, "tokens")
	types, err := g.types(len(tokens))
	if err != nil {
		return err
	}
	unk := g.id("unknown_token_id")
	g.b.vocab = make(map[string]int32, len(tokens))
	for i, token := range tokens {
		token = text(token, types[i])
		if _, ok := g.b.vocab[token]; !ok { // the first of equal ones, so that ids have one text
			g.b.vocab[token] = int32(i)
		}
		// Gemma's files call the tokens that it has in reserve control tokens;
		// its tokenizer.json has them for text.
		reserve := strings.HasPrefix(token, "<unused") || token == "<mask>"
		special := types[i] == ggmlControl && !reserve || types[i] == ggmlUnknown && int32(i) == unk
		_, twice := g.b.at[token]
		if (special || types[i] == ggmlUserDefined || types[i] == ggmlControl) && token != "" && !twice {
			added := addedDecl{tokenDecl{text: token, special: special}, g.b.vocab[token], "tokens"}
			if err := g.b.addToken(added); err != nil {
				return err
			}
		}
	}
	return nil
}

// byteLevel sets up byte-level BPE, and returns whether it begins with bos.
func (g *ggufDecls) byteLevel() (addBOS bool, err error) {
	name := ggufValue[string](g, "pre")
	i := slices.IndexFunc(preTokenizers, func(p preTokenizer) bool { return slices.Contains(p.names, name) })
	if i < 0 {
		return false, fmt.Errorf("%spre: got the unknown name %q, want one that llama.cpp 0.5 knows, such as %q", ggmlPrefix, name, nearestPre(name))
	}
	pre := preTokenizers[i]
	if pre.nfc {
		g.b.normalize = append(g.b.normalize, unicodeForm(nfc))
	}
	for _, text := range pre.patterns {
		by, err := pattern.Compile(text)
		if err != nil {
			return false, err
		}
		g.b.split = append(g.b.split, splitBy{by: by})
	}
	g.b.setByteLevel(byteLevel{prefix: g.flag("add_space_prefix", false)})
	g.b.wholeWords = pre.wholeWords
	if err := g.addTokens(func(token string, _ int32) string { return token }); err != nil {
		return false, err
	}
	return pre.addBOS, g.addMerges()
}

// nearestPre returns the known name that is most like one that is not known.
func nearestPre(name string) string {
	var known []string
	for _, p := range preTokenizers {
		known = append(known, p.names...)
	}
	if near, ok := suggest.Match(name, known); ok {
		return near
	}
	return "default"
}

func (g *ggufDecls) addMerges() error {
	for i, line := range ggufValue[[]string](g, "merges") {
		// A token may begin with a space, so the one behind its first byte parts.
		at := strings.Index(line[min(1, len(line)):], " ") + 1
		if at == 0 {
			return fmt.Errorf("%smerges[%d]: got %q, want two tokens with a space between", ggmlPrefix, i, line)
		}
		left, right := line[:at], line[at+1:]
		if err := g.b.addMerge(left, right); err != nil {
			return fmt.Errorf("%smerges[%d]: %w", ggmlPrefix, i, err)
		}
	}
	return nil
}

const spaceSign = "▁"

// setSpaceSign sets up text in which a sign stands for spaces, and byte
// fallback.
func (g *ggufDecls) setSpaceSign(prefix bool) {
	if prefix {
		g.b.normalize = append(g.b.normalize, prepend(spaceSign))
	}
	g.b.normalize = append(g.b.normalize, replace(pattern.Literal(" "), spaceSign))
	g.b.byteFallback, g.b.fuseUnk = true, true
	spaces := replace(pattern.Literal(spaceSign), " ")
	g.b.decoder.steps = []decodeStep{eachToken(func(s string) string { return spaces(nil, s) }), byteFallback, fuse}
	if prefix {
		g.b.decoder.steps = append(g.b.decoder.steps, decodeStrip(" ", 1, 0))
	}
}

// sentencePiece sets up SentencePiece's BPE: any two neighbours whose text is
// a token merge, those of the best score first.
func (g *ggufDecls) sentencePiece() error {
	tokens, scores := ggufValue[[]string](g, "tokens"), ggufValue[[]float32](g, "scores")
	if len(scores) != len(tokens) {
		return fmt.Errorf("%sscores: got %d, want one of each of %d tokens", ggmlPrefix, len(scores), len(tokens))
	}
	types, err := g.types(len(tokens))
	if err != nil {
		return err
	}
	g.setSpaceSign(g.flag("add_space_prefix", true))
	scores = slices.Clone(scores)
	for id, kind := range types {
		switch kind {
		case ggmlUserDefined:
			scores[id] = float32(math.Inf(1)) // SentencePiece takes these before any merge
		case ggmlNormal:
		default:
			scores[id] = float32(math.NaN())
		}
	}
	g.b.ranks = rank(scores)
	return g.addTokens(func(token string, kind int32) string {
		// Some files spell the runs of the sign that they add as plain spaces.
		if kind == ggmlUserDefined && strings.Trim(token, " ") == "" {
			return strings.ReplaceAll(token, " ", spaceSign)
		}
		return token
	})
}

// gemma4 sets up Gemma 4's BPE by merges on characters, lines apart.
func (g *ggufDecls) gemma4() error {
	by, err := pattern.Compile(`[^\n]+|[\n]+`)
	if err != nil {
		return err
	}
	g.setSpaceSign(g.flag("add_space_prefix", false))
	g.b.split = []splitter{splitBy{by: by}}
	if err := g.addTokens(func(token string, _ int32) string { return token }); err != nil {
		return err
	}
	return g.addMerges()
}

// setRoles takes the tokens with a role, what frames a text, and the chat
// templates.
func (g *ggufDecls) setRoles(addBOS bool) {
	tokens := ggufValue[[]string](g, "tokens")
	for key, name := range map[string]string{
		"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token", "seperator": "sep_token", "mask": "mask_token",
	} {
		if id := g.id(key + "_token_id"); id != none {
			g.b.names[name] = tokens[id]
		}
	}
	b := g.b
	b.roles = roles{bos: g.id("bos_token_id"), eos: g.id("eos_token_id"), unk: g.id("unknown_token_id"), pad: g.id("padding_token_id")}
	if b.roles.unk != none {
		b.unk = tokens[b.roles.unk]
	}
	if b.roles.bos != none && g.flag("add_bos_token", addBOS) {
		b.frame.before = []int32{b.roles.bos}
	}
	if b.roles.eos != none && g.flag("add_eos_token", false) {
		b.frame.after = []int32{b.roles.eos}
	}
	b.chat = map[string]string{}
	for key, v := range g.metadata {
		name, ok := strings.CutPrefix(key, "tokenizer.chat_template")
		template, isText := v.(string)
		if name = strings.TrimPrefix(name, "."); ok && isText {
			if name == "" {
				name = "default"
			}
			b.chat[name] = template
		}
	}
}
