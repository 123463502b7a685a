package token

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/sparseflow/sparseflow/internal/suggest"
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
	g := ggufDecls{metadata: metadata, b: newBuilder()}
	t, err := g.load()
	if err != nil {
		return nil, fmt.Errorf("tokenizer of %s: %w", name, err)
	}
	return t, nil
}

// ggufDecls is what a GGUF file says, and what is made of it.
type ggufDecls struct {
	metadata map[string]any
	tokens   []string
	types    []int32 // of each token
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
	if !ok || v < 0 || v >= int64(len(g.tokens)) {
		return none
	}
	return int32(v)
}

func (g *ggufDecls) load() (*Tokenizer, error) {
	g.tokens = ggufValue[[]string](g, "tokens")
	if len(g.tokens) == 0 {
		return nil, errors.New(ggmlPrefix + "tokens: got none, want the vocabulary")
	}
	if err := g.readTypes(); err != nil {
		return nil, err
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

// readTypes takes the kind of each token.
func (g *ggufDecls) readTypes() error {
	switch v := g.metadata[ggmlPrefix+"token_type"].(type) {
	case nil:
		g.types = slices.Repeat([]int32{ggmlNormal}, len(g.tokens))
	case []int32:
		g.types = v
	case []uint32:
		for _, t := range v {
			g.types = append(g.types, int32(t))
		}
	}
	if len(g.types) != len(g.tokens) {
		return fmt.Errorf("%stoken_type: got %d, want one of each of %d tokens", ggmlPrefix, len(g.types), len(g.tokens))
	}
	return nil
}

// addTokens takes the vocabulary.
func (g *ggufDecls) addTokens() error {
	unk := g.id("unknown_token_id")
	g.b.vocab, g.b.listed = make(map[string]int32, len(g.tokens)), g.tokens
	for i, token := range g.tokens {
		kind := g.types[i]
		if _, ok := g.b.vocab[token]; !ok { // the first of equal ones, so that ids have one text
			g.b.vocab[token] = int32(i)
		}
		// Gemma's files call the tokens that it has in reserve control tokens;
		// its tokenizer.json has them for text.
		reserve := strings.HasPrefix(token, "<unused") || token == "<mask>"
		special := kind == ggmlControl && !reserve || kind == ggmlUnknown && int32(i) == unk
		_, twice := g.b.at[token]
		if (special || kind == ggmlUserDefined || kind == ggmlControl) && token != "" && !twice {
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
	d := pipelineDecls{Decoder: &step{Type: "ByteLevel"}}
	if pre.nfc {
		d.Normalizer = &step{Type: "NFC"}
	}
	var split []step
	for _, text := range pre.patterns {
		split = append(split, splitStep(text))
	}
	prefix, regex := g.flag("add_space_prefix", false), false
	d.PreTokenizer = inTurn(append(split, step{Type: "ByteLevel", PrefixSpace: &prefix, UseRegex: &regex})...)
	g.b.wholeWords = pre.wholeWords
	return pre.addBOS, cmp.Or(g.b.setPipeline(d), g.addTokens(), g.addMerges())
}

func splitStep(regex string) step {
	return step{Type: "Split", Pattern: &patternDecl{Regex: &regex}, Behavior: "Isolated"}
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

// addMerges takes the merges. As in llama.cpp they may pass through texts that are no
// tokens.
func (g *ggufDecls) addMerges() error {
	g.b.between = map[string]int32{}
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
// fallback. The text is cut by a regular expression if there is one.
func (g *ggufDecls) setSpaceSign(prefix bool, split ...step) error {
	replace := func(from, to string) step {
		return step{Type: "Replace", Pattern: &patternDecl{String: &from}, Content: to}
	}
	normalizers := []step{replace(" ", spaceSign)}
	decoders := []step{replace(spaceSign, " "), {Type: "ByteFallback"}, {Type: "Fuse"}}
	if prefix {
		normalizers = slices.Insert(normalizers, 0, step{Type: "Prepend", Prepend: spaceSign})
		decoders = append(decoders, step{Type: "Strip", Content: " ", Start: 1})
	}
	g.b.byteFallback, g.b.fuseUnk = true, true
	return g.b.setPipeline(pipelineDecls{Normalizer: inTurn(normalizers...), PreTokenizer: inTurn(split...), Decoder: inTurn(decoders...)})
}

// sentencePiece sets up SentencePiece's BPE: any two neighbours whose text is
// a token merge, those of the best score first.
func (g *ggufDecls) sentencePiece() error {
	scores := slices.Clone(ggufValue[[]float32](g, "scores"))
	if len(scores) != len(g.tokens) {
		return fmt.Errorf("%sscores: got %d, want one of each of %d tokens", ggmlPrefix, len(scores), len(g.tokens))
	}
	tokens := slices.Clone(g.tokens)
	for id, kind := range g.types {
		switch kind {
		case ggmlUserDefined:
			scores[id] = float32(math.Inf(1)) // SentencePiece takes these before any merge
			// Some files spell the runs of the sign that they add as plain spaces.
			if strings.Trim(tokens[id], " ") == "" {
				tokens[id] = strings.ReplaceAll(tokens[id], " ", spaceSign)
			}
		case ggmlNormal:
		default:
			scores[id] = float32(math.NaN())
		}
	}
	g.tokens, g.b.ranks = tokens, rank(scores)
	return cmp.Or(g.setSpaceSign(g.flag("add_space_prefix", true)), g.addTokens())
}

// gemma4 sets up Gemma 4's BPE by merges on characters, lines apart.
func (g *ggufDecls) gemma4() error {
	lines := splitStep(`[^\n]+|[\n]+`)
	return cmp.Or(g.setSpaceSign(g.flag("add_space_prefix", false), lines), g.addTokens(), g.addMerges())
}

// setRoles takes the tokens with a role, what frames a text, and the chat
// templates.
func (g *ggufDecls) setRoles(addBOS bool) {
	for key, name := range map[string]string{
		"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token", "seperator": "sep_token", "mask": "mask_token",
		"eot": "eot_token", "eom": "eom_token",
	} {
		if id := g.id(key + "_token_id"); id != none {
			g.b.names[name] = g.tokens[id]
		}
	}
	b := g.b
	b.roles = roles{ends: g.ends(), bos: g.id("bos_token_id"), eos: g.id("eos_token_id"), unk: g.id("unknown_token_id"), pad: g.id("padding_token_id")}
	if b.roles.unk != none {
		b.unk = g.tokens[b.roles.unk]
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
