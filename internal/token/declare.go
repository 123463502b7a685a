package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// tokenDecl is how a file declares a token: its text alone, or an object.
type tokenDecl struct {
	text           string
	lstrip, rstrip bool
	singleWord     bool
	special        bool // as the object says; a role makes it special anyway
	normalized     bool // is looked for in the normalized text
	stated         bool // the key is there, though it may be null
}

// UnmarshalJSON takes a string, an object with content, or null.
func (d *tokenDecl) UnmarshalJSON(data []byte) error {
	*d = tokenDecl{stated: true}
	switch {
	case bytes.Equal(data, []byte("null")):
		return nil
	case data[0] == '"':
		return json.Unmarshal(data, &d.text)
	}
	var object struct {
		Content    *string `json:"content"`
		LStrip     bool    `json:"lstrip"`
		RStrip     bool    `json:"rstrip"`
		SingleWord bool    `json:"single_word"`
		Special    bool    `json:"special"`
		Normalized *bool   `json:"normalized"`
	}
	if err := json.Unmarshal(data, &object); err != nil || object.Content == nil {
		return fmt.Errorf("got token %.80s, want a string or an object with content", data)
	}
	d.text, d.lstrip, d.rstrip = *object.Content, object.LStrip, object.RStrip
	d.singleWord, d.special = object.SingleWord, object.Special
	d.normalized = !d.special
	if object.Normalized != nil {
		d.normalized = *object.Normalized
	}
	return nil
}

// roleDecls are the keys that special_tokens_map.json and
// tokenizer_config.json share.
type roleDecls struct {
	BOS        tokenDecl   `json:"bos_token"`
	EOS        tokenDecl   `json:"eos_token"`
	Unk        tokenDecl   `json:"unk_token"`
	Sep        tokenDecl   `json:"sep_token"`
	Pad        tokenDecl   `json:"pad_token"`
	CLS        tokenDecl   `json:"cls_token"`
	Mask       tokenDecl   `json:"mask_token"`
	Additional []tokenDecl `json:"additional_special_tokens"`
}

// all returns the roles in the order in which the reference gives new ids.
func (r *roleDecls) all() []*tokenDecl {
	list := []*tokenDecl{&r.BOS, &r.EOS, &r.Unk, &r.Sep, &r.Pad, &r.CLS, &r.Mask}
	for i := range r.Additional {
		list = append(list, &r.Additional[i])
	}
	return list
}

// override takes over what o states.
func (r *roleDecls) override(o roleDecls) {
	to, from := r.all()[:7], o.all()[:7]
	for i := range to {
		if from[i].stated {
			*to[i] = *from[i]
		}
	}
	if o.Additional != nil {
		r.Additional = o.Additional
	}
}

// configDecls is tokenizer_config.json, as far as it is used.
type configDecls struct {
	roleDecls
	Class       string               `json:"tokenizer_class"`
	AddBOS      *bool                `json:"add_bos_token"`
	PrefixSpace bool                 `json:"add_prefix_space"`
	Added       map[string]tokenDecl `json:"added_tokens_decoder"`
	Extra       extraDecls           `json:"extra_special_tokens"`
	Chat        chatDecls            `json:"chat_template"`
}

// extraDecls are special tokens in a list, or by names of their roles.
type extraDecls []tokenDecl

func (d *extraDecls) UnmarshalJSON(data []byte) error {
	var named map[string]tokenDecl
	if err := json.Unmarshal(data, &named); err != nil {
		return json.Unmarshal(data, (*[]tokenDecl)(d))
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		*d = append(*d, named[name])
	}
	return nil
}

// chatDecls are chat templates by name: one, which is called default, or a
// list with names.
type chatDecls map[string]string

func (d *chatDecls) UnmarshalJSON(data []byte) error {
	*d = chatDecls{}
	if len(data) > 0 && data[0] == '"' {
		var text string
		err := json.Unmarshal(data, &text)
		(*d)["default"] = text
		return err
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("chat_template: got %.40s, want a text or a list of names and templates", data)
	}
	for _, t := range list {
		(*d)[t.Name] = t.Template
	}
	return nil
}

// declarations are what the files beside the model say.
type declarations struct {
	roles       roleDecls
	class       string
	addBOS      *bool
	prefixSpace bool
	added       []addedDecl
	chat        chatDecls
}

// addedDecl is a token with the id that a file gives it.
type addedDecl struct {
	tokenDecl
	id   int32
	file string
}

// readDeclarations reads the files beside the model. As in the reference, a
// tokenizer_config.json with added_tokens_decoder stands alone; without it,
// what special_tokens_map.json states goes before, and added_tokens.json adds
// tokens that are not special unless they have a role. A chat template in a
// file of its own goes before one in tokenizer_config.json.
func (f folder) readDeclarations() (declarations, error) {
	var config configDecls
	if err := f.readInto(configFile, &config); err != nil {
		return declarations{}, err
	}
	config.Additional = append(config.Additional, config.Extra...)
	d := declarations{config.roleDecls, config.Class, config.AddBOS, config.PrefixSpace, nil, config.Chat}
	template, err := f.read(templateFile)
	if err != nil {
		return d, err
	}
	if template != nil {
		d.chat = maps.Clone(d.chat)
		if d.chat == nil {
			d.chat = chatDecls{}
		}
		d.chat["default"] = string(template)
	}
	if config.Added != nil {
		d.added, err = config.addedTokens()
		return d, f.fail(configFile, err)
	}
	var special roleDecls
	if err := f.readInto(specialFile, &special); err != nil {
		return d, err
	}
	d.roles.override(special)
	var ids json.RawMessage
	if err := f.readInto(addedTokensFile, &ids); err != nil || ids == nil {
		return d, err
	}
	err = readIDs(ids, func(token string, id int32) error {
		d.added = append(d.added, addedDecl{tokenDecl{text: token}, id, addedTokensFile})
		return nil
	})
	return d, f.fail(addedTokensFile, err)
}

// readInto decodes a JSON file, if there is one.
func (f folder) readInto(file string, v any) error {
	data, err := f.read(file)
	if err != nil || data == nil {
		return err
	}
	return f.fail(file, decodeJSON(data, v))
}

// addedTokens returns added_tokens_decoder by ascending id.
func (c *configDecls) addedTokens() ([]addedDecl, error) {
	var list []addedDecl
	for _, key := range slices.Sorted(maps.Keys(c.Added)) {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("added_tokens_decoder: got id %q, want a number from 0", key)
		}
		list = append(list, addedDecl{c.Added[key], int32(id), configFile})
	}
	slices.SortFunc(list, func(a, b addedDecl) int { return int(a.id) - int(b.id) })
	return list, nil
}
