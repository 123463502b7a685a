package token

import (
	"bytes"
	"encoding/json"
	"errors"
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
	}
	if err := json.Unmarshal(data, &object); err != nil || object.Content == nil {
		return fmt.Errorf("got token %.80s, want a string or an object with content", data)
	}
	d.text, d.lstrip, d.rstrip = *object.Content, object.LStrip, object.RStrip
	d.singleWord, d.special = object.SingleWord, object.Special
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

// configDecls is tokenizer_config.json, as far as it concerns ids.
type configDecls struct {
	roleDecls
	Class       string               `json:"tokenizer_class"`
	AddBOS      *bool                `json:"add_bos_token"`
	PrefixSpace bool                 `json:"add_prefix_space"`
	Errors      *string              `json:"errors"`
	Added       map[string]tokenDecl `json:"added_tokens_decoder"`
}

// check refuses settings that would change ids or text. complete says that a
// tokenizer.json states how text is cut; else the class does.
func (c *configDecls) check(complete bool) error {
	switch {
	case !complete && c.Class != "" && c.Class != "GPT2Tokenizer" && c.Class != "GPT2TokenizerFast":
		return fmt.Errorf("tokenizer_class: got %q, want GPT2Tokenizer: other classes cut text in other ways", c.Class)
	case c.PrefixSpace:
		return errors.New("add_prefix_space: got true, want false")
	case c.Errors != nil && *c.Errors != "replace":
		return fmt.Errorf("errors: got %q, want %q", *c.Errors, "replace")
	}
	return nil
}

// declarations are what the files beside the model say.
type declarations struct {
	roles  roleDecls
	addBOS *bool
	added  []addedDecl
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
// tokens that are not special unless they have a role. complete is as in check.
func (f folder) readDeclarations(complete bool) (declarations, error) {
	var d declarations
	var config configDecls
	data, err := f.read(configFile)
	if err != nil {
		return d, err
	}
	if data != nil {
		if err := decodeJSON(data, &config); err != nil {
			return d, f.fail(configFile, err)
		}
		if err := config.check(complete); err != nil {
			return d, f.fail(configFile, err)
		}
	}
	d.roles, d.addBOS = config.roleDecls, config.AddBOS
	if config.Added != nil {
		d.added, err = config.addedTokens()
		if err != nil {
			return d, f.fail(configFile, err)
		}
		return d, nil
	}
	data, err = f.read(specialFile)
	if err != nil {
		return d, err
	}
	if data != nil {
		var special roleDecls
		if err := decodeJSON(data, &special); err != nil {
			return d, f.fail(specialFile, err)
		}
		d.roles.override(special)
	}
	data, err = f.read(addedTokensFile)
	if err != nil || data == nil {
		return d, err
	}
	err = readIDs(data, func(token string, id int32) error {
		d.added = append(d.added, addedDecl{tokenDecl{text: token}, id, addedTokensFile})
		return nil
	})
	if err != nil {
		return d, f.fail(addedTokensFile, err)
	}
	return d, nil
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
