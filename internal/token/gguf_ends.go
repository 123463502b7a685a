package token

import "slices"

// endTexts are the texts of tokens that end a text wherever a vocabulary has them,
// as in llama.cpp: many files name one of a model's several ends, or none. Those with
// a key stand in for it: the first in the vocabulary counts, if the file names none.
var endTexts = map[string]string{
	"<|eot_id|>": "", "<|eom_id|>": "", "<|im_end|>": "", "<|end|>": "", "<|return|>": "", "<|call|>": "", "<|flush|>": "", "<|calls|>": "",
	"<end_of_turn>": "", "<|endoftext|>": "", "<|end_of_text|>": "", "<end_of_utterance>": "", "</s>": "", "<eos>": "", "[EOS]": "",
	"<EOT>": "", "_<EOT>": "", "[EOT]": "", "<turn|>": "", "<|tool_response>": "", "<｜end▁of▁sentence｜>": "", "[e~[": "",

	"<|fim_pad|>": "fim_pad", "<fim-pad>": "fim_pad", "<fim_pad>": "fim_pad", "<PAD>": "fim_pad", "[PAD]": "fim_pad",
	"<|fim_repo|>": "fim_rep", "<|repo_name|>": "fim_rep", "<fim-repo>": "fim_rep", "<REPO>": "fim_rep", "<reponame>": "fim_rep",
	"<|file_sep|>": "fim_sep",
}

// ends are the tokens that end a text besides eos: those that keys name, then those
// known by their text.
func (g *ggufDecls) ends() []int32 {
	var ids []int32
	add := func(id int32) {
		if id != none && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	named := map[string]bool{}
	for _, key := range []string{"eot", "eom", "fim_pad", "fim_rep", "fim_sep"} {
		id := g.id(key + "_token_id")
		named[key] = id != none
		add(id)
	}
	for id, text := range g.tokens {
		if key, ok := endTexts[text]; ok && !named[key] {
			add(int32(id))
			named[key] = key != ""
		}
	}
	is := func(text string) func(id int32) bool { return func(id int32) bool { return g.tokens[id] == text } }
	has := func(text string) bool { return slices.ContainsFunc(ids, is(text)) }
	// In chats of harmony's kind this ends a message, and others follow.
	if (has("<|call|>") || has("<|calls|>")) && (has("<|return|>") || has("<|flush|>")) {
		ids = slices.DeleteFunc(ids, is("<|end|>"))
	}
	if has("<|tool_response>") { // Gemma 4 has the other for text
		ids = slices.DeleteFunc(ids, is("</s>"))
	}
	return ids
}
