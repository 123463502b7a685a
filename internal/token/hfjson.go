package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// tokenizerDecls is tokenizer.json, the format of Hugging Face's tokenizers
// library. Keys that change neither ids nor text are left out.
type tokenizerDecls struct {
	pipelineDecls
	AddedTokens []json.RawMessage `json:"added_tokens"`
	Model       modelDecls        `json:"model"`
}

// pipelineDecls is what happens to a text before the model, and to ids behind
// it. Other files than tokenizer.json are told in these terms too.
type pipelineDecls struct {
	Normalizer    *step `json:"normalizer"`
	PreTokenizer  *step `json:"pre_tokenizer"`
	PostProcessor *step `json:"post_processor"`
	Decoder       *step `json:"decoder"`
}

// inTurn is a step of several.
func inTurn(steps ...step) *step { return &step{Type: "Sequence", PreTokenizers: steps} }

// modelDecls is the model of a tokenizer.json.
type modelDecls struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
}

// step is a normalizer, pre-tokenizer, post-processor or decoder: one of a
// type, or a sequence of such.
type step struct {
	Type string `json:"type"`

	Pattern     *patternDecl    `json:"pattern"`
	Content     string          `json:"content"`
	Behavior    string          `json:"behavior"`
	Invert      bool            `json:"invert"`
	UseRegex    *bool           `json:"use_regex"`
	PrefixSpace *bool           `json:"add_prefix_space"`
	Individual  bool            `json:"individual_digits"`
	Replacement string          `json:"replacement"`
	Scheme      string          `json:"prepend_scheme"`
	SplitSpaces *bool           `json:"split"`
	Delimiter   string          `json:"delimiter"`
	Prepend     string          `json:"prepend"`
	Left        bool            `json:"strip_left"`
	Right       bool            `json:"strip_right"`
	Start       int             `json:"start"`
	Stop        int             `json:"stop"`
	Suffix      *string         `json:"suffix"`
	Single      []templatePiece `json:"single"`
	CLS         *tokenAndID     `json:"cls"`
	Sep         *tokenAndID     `json:"sep"`

	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`

	Normalizers   []step `json:"normalizers"`
	PreTokenizers []step `json:"pretokenizers"`
	Processors    []step `json:"processors"`
	Decoders      []step `json:"decoders"`
}

// templatePiece is a part of what a text is framed in: the text or a token.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// tokenAndID is a token as BERT's processors name it: ["</s>", 2].
type tokenAndID struct {
	text string
	id   int32
}

func (t *tokenAndID) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&t.text, &t.id})
}

// patternDecl is a text or a regular expression.
type patternDecl struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

func (d *patternDecl) compile() (*pattern.Pattern, error) {
	switch {
	case d != nil && d.String != nil:
		return pattern.Literal(*d.String), nil
	case d != nil && d.Regex != nil:
		return pattern.Compile(*d.Regex)
	}
	return nil, errors.New("got no pattern, want a String or a Regex")
}

// maxSteps bounds the steps of one kind, sequences in sequences included.
const maxSteps = 256

// steps returns the single steps of s in order.
func (s *step) steps() ([]step, error) {
	var list []step
	var walk func(s *step) error
	walk = func(s *step) error {
		if len(list) > maxSteps {
			return fmt.Errorf("got more than %d steps", maxSteps)
		}
		if s.Type != "Sequence" {
			list = append(list, *s)
			return nil
		}
		for _, sub := range slices.Concat(s.Normalizers, s.PreTokenizers, s.Processors, s.Decoders) {
			if err := walk(&sub); err != nil {
				return err
			}
		}
		return nil
	}
	if s == nil {
		return nil, nil
	}
	err := walk(s)
	return list, err
}

// orTrue is a setting's value, true where the file leaves it out.
func orTrue(b *bool) bool { return b == nil || *b }

// readTokenizer fills b from tokenizer.json, or says what in it is none of the
// reference's pipelines that are known here.
func (b *builder) readTokenizer(data []byte) error {
	var d tokenizerDecls
	if err := decodeJSON(data, &d); err != nil {
		return err
	}
	b.complete = true
	if err := b.setPipeline(d.pipelineDecls); err != nil {
		return err
	}
	if err := b.readModel(&d.Model); err != nil {
		return fmt.Errorf("model.%w", err)
	}
	for i, raw := range d.AddedTokens {
		if err := b.readAdded(raw); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
	}
	return nil
}

// setPipeline makes the steps of a pipeline.
func (b *builder) setPipeline(d pipelineDecls) error {
	for _, part := range []struct {
		name string
		step *step
		add  func(s *step, last bool) error
	}{
		{"normalizer", d.Normalizer, b.addNormalizer},
		{"pre_tokenizer", d.PreTokenizer, b.addSplitter},
		{"post_processor", d.PostProcessor, b.addFrame},
		{"decoder", d.Decoder, b.addDecoder},
	} {
		if part.name == "decoder" {
			b.growth = 1
		}
		steps, err := part.step.steps()
		for i := 0; i < len(steps) && err == nil; i++ {
			if err = b.grow(&steps[i]); err == nil {
				err = part.add(&steps[i], i == len(steps)-1)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if d.Decoder == nil {
		b.decoder.join = " "
	}
	return nil
}

// maxGrowth is how many times as long as the text a tokenizer's steps may make
// it: a few steps that double it could ask for any memory.
const maxGrowth = 4096

// grow counts in how many times as long a step can make a text.
func (b *builder) grow(s *step) error {
	by := map[string]int{"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 2, "ByteLevel": 2, "Metaspace": 4}[s.Type]
	if s.Type == "Replace" {
		by = len(s.Content) + 1 // of an expression, which can match nothing
		if s.Pattern != nil && s.Pattern.String != nil && *s.Pattern.String != "" {
			by = (len(s.Content) + len(*s.Pattern.String) - 1) / len(*s.Pattern.String)
		}
	}
	if b.growth *= max(by, 1); b.growth > maxGrowth || len(s.Prepend) > maxGrowth {
		return fmt.Errorf("%s: got steps that make a text more than %d times as long", s.Type, maxGrowth)
	}
	return nil
}

// unknown is the error for a step of a type that is not known.
func unknown[F any](got string, known map[string]F) error {
	return fmt.Errorf("got %q, want one of %s", got, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}

// made is what known makes of a step.
func made[F any](s *step, known map[string]func(*step) (F, error)) (F, error) {
	f, ok := known[s.Type]
	if !ok {
		var none F
		return none, unknown(s.Type, known)
	}
	v, err := f(s)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.Type, err)
	}
	return v, err
}

var normalizers = map[string]func(*step) (normalizer, error){
	"NFC":       func(*step) (normalizer, error) { return unicodeForm(nfc), nil },
	"NFD":       func(*step) (normalizer, error) { return unicodeForm(nfd), nil },
	"NFKC":      func(*step) (normalizer, error) { return unicodeForm(nfkc), nil },
	"NFKD":      func(*step) (normalizer, error) { return unicodeForm(nfkd), nil },
	"Lowercase": func(*step) (normalizer, error) { return lowercase, nil },
	"StripAccents": func(*step) (normalizer, error) {
		marks, err := pattern.Compile(`\p{M}`)
		return replace(marks, ""), err
	},
	"ByteLevel": func(*step) (normalizer, error) { return spellText, nil },
	"Strip":     func(s *step) (normalizer, error) { return strip(s.Left, s.Right), nil },
	"Prepend":   func(s *step) (normalizer, error) { return prepend(s.Prepend), nil },
	"Replace": func(s *step) (normalizer, error) {
		by, err := s.Pattern.compile()
		return replace(by, s.Content), err
	},
}

func (b *builder) addNormalizer(s *step, _ bool) error {
	n, err := made(s, normalizers)
	b.normalize = append(b.normalize, n)
	return err
}

var splitters = map[string]func(*step) ([]splitter, error){
	"Split": func(s *step) ([]splitter, error) {
		by, err := s.Pattern.compile()
		if err != nil {
			return nil, err
		}
		kind, ok := behaviors[s.Behavior]
		if !ok {
			return nil, fmt.Errorf("behavior: %w", unknown(s.Behavior, behaviors))
		}
		return []splitter{splitBy{by, kind, s.Invert}}, nil
	},
	"Digits": func(s *step) ([]splitter, error) {
		kind := contiguous
		if s.Individual {
			kind = isolated
		}
		return cutBy(`\p{N}`, kind)
	},
	"Punctuation": func(s *step) ([]splitter, error) {
		kind, ok := behaviors[s.Behavior]
		if !ok && s.Behavior != "" {
			return nil, fmt.Errorf("behavior: %w", unknown(s.Behavior, behaviors))
		}
		return cutBy(punctuation, kind)
	},
	"Whitespace": func(*step) ([]splitter, error) {
		words, err := pattern.Compile(`[[:word:]\x{200C}\x{200D}]+|[^[:word:]\x{200C}\x{200D}\s]+`)
		return []splitter{splitBy{by: words, behavior: removed, invert: true}}, err
	},
	"WhitespaceSplit": func(*step) ([]splitter, error) { return cutBy(`\s`, removed) },
	"BertPreTokenizer": func(*step) ([]splitter, error) {
		spaces, err := cutBy(`\s`, removed)
		if err != nil {
			return nil, err
		}
		marks, err := cutBy(punctuation, isolated)
		return append(spaces, marks...), err
	},
	"CharDelimiterSplit": func(s *step) ([]splitter, error) {
		return []splitter{splitBy{by: pattern.Literal(s.Delimiter), behavior: removed}}, nil
	},
	"Metaspace": func(s *step) ([]splitter, error) {
		replacement, scheme, err := s.metaspace()
		return []splitter{metaspace{replacement, scheme, orTrue(s.SplitSpaces)}}, err
	},
	"ByteLevel": func(s *step) ([]splitter, error) {
		l := byteLevel{prefix: s.PrefixSpace != nil && *s.PrefixSpace, spell: true}
		if !orTrue(s.UseRegex) {
			return []splitter{l}, nil
		}
		by, err := pattern.Compile(gpt2Pattern)
		l.by = by
		return []splitter{l}, err
	},
}

// punctuation is what pre-tokenizers take for it: that of Unicode, and ASCII's
// symbols.
const punctuation = "[\\p{P}!-/:-@\\[-`{-~]"

// cutBy is a pre-tokenizer that cuts by a pattern of its own.
func cutBy(text string, kind behavior) ([]splitter, error) {
	by, err := pattern.Compile(text)
	return []splitter{splitBy{by: by, behavior: kind}}, err
}

// metaspace returns the replacement and when one is prepended, which older
// files say by add_prefix_space.
func (s *step) metaspace() (replacement, scheme string, err error) {
	scheme = s.Scheme
	if scheme == "" {
		scheme = "always"
		if !orTrue(s.PrefixSpace) {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return "", "", fmt.Errorf("prepend_scheme: got %q, want always, first or never", scheme)
	}
	if utf8.RuneCountInString(s.Replacement) != 1 {
		return "", "", fmt.Errorf("replacement: got %q, want one character", s.Replacement)
	}
	return s.Replacement, scheme, nil
}

func (b *builder) addSplitter(s *step, last bool) error {
	list, err := made(s, splitters)
	if err != nil {
		return err
	}
	if l, ok := list[0].(byteLevel); ok {
		b.byteLevels++
		if b.byteLevels == 1 && last {
			l.spell, b.bytes = false, true
			list[0] = l
		}
	}
	b.split = append(b.split, list...)
	return nil
}

// addFrame takes what a post-processor puts around a text. Later ones go
// around what earlier ones made.
func (b *builder) addFrame(s *step, _ bool) error {
	around := func(before, after []int32) {
		b.frame.before = append(slices.Clone(before), b.frame.before...)
		b.frame.after = append(b.frame.after, after...)
	}
	switch s.Type {
	case "ByteLevel": // moves offsets only
		return nil
	case "BertProcessing", "RobertaProcessing":
		if s.CLS == nil || s.Sep == nil || s.CLS.id < 0 || s.Sep.id < 0 {
			return fmt.Errorf("%s: got no cls or sep, want both with their ids", s.Type)
		}
		around([]int32{s.CLS.id}, []int32{s.Sep.id})
		return nil
	case "TemplateProcessing":
	default:
		return fmt.Errorf("got %q, want one of BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing", s.Type)
	}
	var ids [2][]int32 // before and behind the text
	texts := 0
	for i, p := range s.Single {
		switch {
		case p.Sequence != nil:
			texts++
		case p.SpecialToken != nil:
			token, ok := s.SpecialTokens[p.SpecialToken.ID]
			if !ok || slices.Min(append(token.IDs, 0)) < 0 {
				return fmt.Errorf("TemplateProcessing.single[%d]: got token %q without ids, want it in special_tokens", i, p.SpecialToken.ID)
			}
			ids[min(texts, 1)] = append(ids[min(texts, 1)], token.IDs...)
			if i == 0 {
				b.bos = p.SpecialToken.ID
			}
		}
	}
	if texts != 1 || len(ids[0])+len(ids[1]) > maxSteps {
		return fmt.Errorf("TemplateProcessing.single: got a text %d times, want it once", texts)
	}
	around(ids[0], ids[1])
	return nil
}

// decodeSteps has all but ByteLevel, which alone needs no step.
var decodeSteps = map[string]func(*step) (decodeStep, error){
	"ByteLevel":    func(*step) (decodeStep, error) { return decodeByteLevel, nil },
	"ByteFallback": func(*step) (decodeStep, error) { return byteFallback, nil },
	"Fuse":         func(*step) (decodeStep, error) { return fuse, nil },
	"Strip":        func(s *step) (decodeStep, error) { return decodeStrip(s.Content, s.Start, s.Stop), nil },
	"Metaspace": func(s *step) (decodeStep, error) {
		replacement, scheme, err := s.metaspace()
		return decodeSpaces(replacement, func(i, _ int) bool { return i == 0 && scheme != "never" }), err
	},
	"Replace": func(s *step) (decodeStep, error) {
		by, err := s.Pattern.compile()
		f := replace(by, s.Content)
		return eachToken(func(text string) string { return f(pattern.NewMatcher(0), text) }), err
	},
	"BPEDecoder": func(s *step) (decodeStep, error) {
		suffix := "</w>"
		if s.Suffix != nil {
			suffix = *s.Suffix
		}
		return decodeSpaces(suffix, func(i, n int) bool { return i == n-1 }), nil
	},
}

func (b *builder) addDecoder(s *step, last bool) error {
	d, err := made(s, decodeSteps)
	b.decoder.bytes = last && len(b.decoder.steps) == 0 && s.Type == "ByteLevel"
	b.decoder.steps = append(b.decoder.steps, d)
	return err
}

// readModel takes the vocabulary and what makes ids of pieces.
func (b *builder) readModel(d *modelDecls) error {
	if d.Type == "" && d.Merges != nil {
		d.Type = "BPE" // as the oldest files leave it out
	}
	switch {
	case d.Type != "BPE":
		return fmt.Errorf("type: got %q, want BPE", d.Type)
	case d.Vocab == nil:
		return errors.New("vocab: got none, want an object of token to id")
	case d.Dropout != nil && *d.Dropout != 0:
		return fmt.Errorf("dropout: got %v, want none: it makes ids random", *d.Dropout)
	}
	b.fuseUnk, b.byteFallback, b.wholeWords = d.FuseUnk, d.ByteFallback, d.IgnoreMerges
	if err := b.readVocab(d.Vocab); err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	if d.Prefix != nil {
		b.prefix = *d.Prefix
	}
	if d.Suffix != nil {
		b.suffix = *d.Suffix
	}
	if d.UnkToken != nil {
		b.unk = *d.UnkToken
	}
	return b.readMergeList(d.Merges)
}

// readAdded takes an entry of added_tokens. As in the reference, the id of a
// token is the vocabulary's, and one that the vocabulary lacks is numbered on,
// whatever the entry says; a token without text is passed over.
func (b *builder) readAdded(raw json.RawMessage) error {
	var token tokenDecl
	var with struct {
		ID *int64 `json:"id"`
	}
	if err := json.Unmarshal(raw, &token); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &with); err != nil {
		return err
	}
	if with.ID == nil || *with.ID < 0 || *with.ID > math.MaxInt32 {
		return fmt.Errorf("token %q: got no id from 0 to %d, want one", token.text, math.MaxInt32)
	}
	if token.text == "" {
		return nil
	}
	if i, ok := b.at[token.text]; ok { // the last declaration counts, but what was special stays so
		token.special = token.special || b.added[i].special
		b.added[i].tokenDecl = token
		return nil
	}
	return b.addToken(addedDecl{token, b.idFor(token.text), tokenizerFile})
}
