package chat

import (
	"strings"
	"unicode"
)

// Tags are what a model writes around its answer, as far as its template shows.
type Tags struct {
	Open, Close string // around reasoning
	Also        string // in place of Open: what is said to tools and not to the user
	Next        string // between the reasoning and the answer, or more reasoning; "" where it comes once
	Lead        string // before an answer without reasoning
	End         string // behind an answer; its first token ends a turn
}

// pairs are the marks of reasoning that are in use. The first is taken for
// templates that name none.
var pairs = []Tags{
	{Open: "<think>", Close: "</think>"},
	{Open: "[THINK]", Close: "[/THINK]"},
	{Open: "<|START_THINKING|>", Close: "<|END_THINKING|>"},
	{Open: "<|channel|>analysis<|message|>", Also: "<|channel|>commentary<|message|>", Close: "<|end|>", Next: "<|start|>assistant"},
	{Open: "<thinking>", Close: "</thinking>"},
	{Open: "<reasoning>", Close: "</reasoning>"},
	{Open: "<seed:think>", Close: "</seed:think>"},
}

// probe is an answer that no template has in it.
const probe = "Zq7answer7qZ"

// Tags looks at what the template writes around an answer.
func (t *Template) Tags(roles map[string]string) Tags {
	tags := pairs[0]
	for _, p := range pairs {
		if strings.Contains(t.source, p.Open) && strings.Contains(t.source, p.Close) {
			tags = p
			break
		}
	}
	ask := Conversation{Messages: []Message{NewMessage("user", "a", "")}, Roles: roles, AddGenerationPrompt: true}
	answered := ask
	answered.AddGenerationPrompt = false
	answered.Messages = append(answered.Messages[:1:1], NewMessage("assistant", probe, ""))
	text, err := t.Render(answered)
	if err != nil {
		return tags // the template wants more than this
	}
	before, after, _ := strings.Cut(text, probe)
	tags.End = after
	if prompt, err := t.Render(ask); err == nil {
		tags.Lead, _ = strings.CutPrefix(before, prompt)
		if tags.Lead == before {
			tags.Lead = ""
		}
	}
	return tags
}

// Has reports whether a special token's text is a part of the tags, so that it
// is to be looked at.
func (g Tags) Has(special string) bool {
	for _, tag := range []string{g.Open, g.Also, g.Close, g.Next, g.Lead} {
		if strings.Contains(tag, special) {
			return true
		}
	}
	return false
}

// Splitter tells a model's reasoning from its answer as the text comes.
type Splitter struct {
	tags Tags
	part part
	held string // could be the beginning of a tag
	said bool   // a part of the reasoning that is not blank
}

// part is what a splitter is in.
type part uint8

const (
	start part = iota
	reasoning
	between
	answer
)

// NewSplitter is a splitter of what follows a prompt, which may have begun the
// reasoning.
func NewSplitter(g Tags, prompt string) *Splitter {
	s := &Splitter{tags: g}
	if g.Open != "" && strings.HasSuffix(strings.TrimRightFunc(prompt, unicode.IsSpace), g.Open) {
		s.part = reasoning
	}
	return s
}

// Push takes the next text, and returns what of it is surely reasoning or answer.
func (s *Splitter) Push(text string) (thought, said string) {
	s.held += text
	for {
		before := s.part
		switch s.part {
		case start:
			s.skip("", s.tags.Lead, s.tags.Open, s.tags.Also)
		case reasoning:
			if !s.said {
				s.held = strings.TrimLeftFunc(s.held, unicode.IsSpace)
			}
			if i := strings.Index(s.held, s.tags.Close); i >= 0 {
				thought, s.said = thought+s.held[:i], s.said || i > 0
				s.held, s.part = s.held[i+len(s.tags.Close):], between
			} else {
				n := len(s.held) - overlap(s.held, s.tags.Close)
				thought, s.held = thought+s.held[:n], s.held[n:]
				s.said = s.said || n > 0
			}
		case between:
			if s.tags.Next == "" {
				s.skip("", "")
			} else {
				s.skip(s.tags.Next, s.tags.Lead, s.tags.Open, s.tags.Also)
			}
			switch {
			case s.part == answer:
				s.held = strings.TrimLeftFunc(s.held, unicode.IsSpace)
			case s.part == reasoning && s.said:
				thought, s.said = thought+"\n\n", false
			}
		case answer:
			said, s.held = said+s.held, ""
		}
		if s.part == before {
			return thought, said
		}
	}
}

// skip passes over the tag that what is held begins with, blanks in front of it too,
// and goes to its part: lead's is the answer, the others' are reasoning; before is in
// front of each. Where no tag can come any more the answer begins.
func (s *Splitter) skip(before, lead string, open ...string) {
	bare := strings.TrimLeftFunc(s.held, unicode.IsSpace)
	if bare == "" {
		return
	}
	wait := false
	for i, tag := range append(open, lead) {
		isLead := i == len(open)
		if tag == "" && (!isLead || before == "") {
			continue
		}
		tag = strings.TrimLeftFunc(before+tag, unicode.IsSpace)
		if rest, ok := strings.CutPrefix(bare, tag); ok {
			s.held, s.part = rest, reasoning
			if isLead {
				s.part = answer
			}
			return
		}
		wait = wait || strings.HasPrefix(tag, bare)
	}
	if !wait {
		s.part = answer
	}
}

// Flush ends the text, and returns what was held.
func (s *Splitter) Flush() (thought, said string) {
	held := s.held
	s.held = ""
	if s.part == reasoning {
		return held, ""
	}
	return "", held
}

// overlap is how much of the end of text could be the beginning of tag.
func overlap(text, tag string) int {
	for n := min(len(text), len(tag)-1); n > 0; n-- {
		if strings.HasSuffix(text, tag[:n]) {
			return n
		}
	}
	return 0
}
