package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// tokenizerDecls is tokenizer.json, the format of Hugging Face's tokenizers
// library. Keys that change neither ids nor text are left out.
type tokenizerDecls struct {
	AddedTokens   []json.RawMessage `json:"added_tokens"`
	Normalizer    *step             `json:"normalizer"`
	PreTokenizer  *step             `json:"pre_tokenizer"`
	PostProcessor *step             `json:"post_processor"`
	Decoder       *step             `json:"decoder"`
	Model         modelDecls        `json:"model"`
}

// modelDecls is the model of a tokenizer.json.
type modelDecls struct {
	Type         string            `json:"type"`
	Dropout      *float64          `json:"dropout"`
	UnkToken     *string           `json:"unk_token"`
	Prefix       *string           `json:"continuing_subword_prefix"`
	Suffix       *string           `json:"end_of_word_suffix"`
	ByteFallback bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Vocab        json.RawMessage   `json:"vocab"`
	Merges       []json.RawMessage `json:"merges"`
}

// step is a normalizer, pre-tokenizer, post-processor or decoder: one of a
// type, or a sequence of such.
type step struct {
	Type        string          `json:"type"`
	UseRegex    *bool           `json:"use_regex"`
	PrefixSpace bool            `json:"add_prefix_space"`
	Single      []templatePiece `json:"single"`

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

// steps returns the single steps of s. Sequences in sequences stay as they
// are, for the caller to refuse.
func (s *step) steps() []step {
	switch {
	case s == nil:
		return nil
	case s.Type == "Sequence":
		return slices.Concat(s.Normalizers, s.PreTokenizers, s.Processors, s.Decoders)
	}
	return []step{*s}
}

// readTokenizer fills b from tokenizer.json, or says what in it is not
// byte-level BPE with GPT-2's pattern.
func (b *builder) readTokenizer(data []byte) error {
	var d tokenizerDecls
	if err := decodeJSON(data, &d); err != nil {
		return err
	}
	b.complete = true
	for _, check := range []func() error{d.Model.check, d.checkText} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := b.readTemplate(d.PostProcessor.steps()); err != nil {
		return err
	}
	if err := b.readVocab(d.Model.Vocab); err != nil {
		return fmt.Errorf("model.vocab: %w", err)
	}
	for i, m := range d.Model.Merges {
		left, right, err := mergePair(m)
		if err == nil {
			err = b.addMerge(left, right)
		}
		if err != nil {
			return fmt.Errorf("model.merges[%d]: %w", i, err)
		}
	}
	if d.Model.UnkToken != nil {
		b.unk = *d.Model.UnkToken
	}
	for i, raw := range d.AddedTokens {
		if err := b.readAdded(raw); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
	}
	return nil
}

// check refuses models other than plain BPE.
func (m *modelDecls) check() error {
	switch {
	case m.Type != "BPE":
		return fmt.Errorf("model.type: got %q, want BPE", m.Type)
	case m.Vocab == nil:
		return errors.New("model.vocab: got none, want an object of token to id")
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("model.dropout: got %v, want none: it makes ids random", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "":
		return fmt.Errorf("model.continuing_subword_prefix: got %q, want none", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return fmt.Errorf("model.end_of_word_suffix: got %q, want none", *m.Suffix)
	case m.ByteFallback:
		return errors.New("model.byte_fallback: got true, want false: the vocabulary is not byte-level")
	case m.IgnoreMerges:
		return errors.New("model.ignore_merges: got true, want false")
	}
	return nil
}

// checkText refuses other ways to cut text and to put it together.
func (d *tokenizerDecls) checkText() error {
	if n := d.Normalizer.steps(); len(n) > 0 {
		return fmt.Errorf("normalizer: got %q, want none", n[0].Type)
	}
	pre := d.PreTokenizer.steps()
	if err := onlyByteLevel("pre_tokenizer", pre); err != nil {
		return err
	}
	if pre[0].UseRegex != nil && !*pre[0].UseRegex {
		return errors.New("pre_tokenizer.use_regex: got false, want true: text would not be cut into words")
	}
	if pre[0].PrefixSpace {
		return errors.New("pre_tokenizer.add_prefix_space: got true, want false")
	}
	return onlyByteLevel("decoder", d.Decoder.steps())
}

// onlyByteLevel wants exactly one step, ByteLevel.
func onlyByteLevel(key string, steps []step) error {
	for _, s := range steps {
		if s.Type != "ByteLevel" {
			return fmt.Errorf("%s: got %q, want ByteLevel alone, which cuts text as GPT-2 does", key, s.Type)
		}
	}
	if len(steps) != 1 {
		return fmt.Errorf("%s: got %d steps, want one, ByteLevel", key, len(steps))
	}
	return nil
}

// readTemplate takes the token that the post-processor puts before every text.
func (b *builder) readTemplate(steps []step) error {
	for _, s := range steps {
		switch {
		case s.Type == "ByteLevel": // moves offsets only
		case s.Type != "TemplateProcessing":
			return fmt.Errorf("post_processor: got %q, want ByteLevel or TemplateProcessing", s.Type)
		case len(s.Single) == 1 && s.Single[0].Sequence != nil:
		case len(s.Single) == 2 && s.Single[0].SpecialToken != nil && s.Single[1].Sequence != nil:
			b.bos, b.addsBOS = s.Single[0].SpecialToken.ID, true
		default:
			return errors.New("post_processor.single: got another template, want the text alone or one token and the text")
		}
	}
	return nil
}

// mergePair returns the tokens of a merge, which older files write as a line
// of merges.txt and newer ones as an array of two.
func mergePair(raw json.RawMessage) (left, right string, err error) {
	if len(raw) > 0 && raw[0] == '"' {
		var line string
		if err := json.Unmarshal(raw, &line); err != nil {
			return "", "", err
		}
		l, r, _ := bytes.Cut([]byte(line), []byte(" "))
		return string(l), string(r), nil
	}
	var pair []string
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
		return "", "", fmt.Errorf("got %.40q, want two tokens", raw)
	}
	return pair[0], pair[1], nil
}

// readAdded takes an entry of added_tokens.
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
	if with.ID == nil || *with.ID < 0 || *with.ID > 1<<31-1 {
		return fmt.Errorf("token %q: got no id from 0 to %d, want one", token.text, 1<<31-1)
	}
	return b.addToken(addedDecl{token, int32(*with.ID), tokenizerFile})
}
