package chat

import "testing"

// What a template writes around an answer is seen from what it renders.
func TestTags(t *testing.T) {
	roles := map[string]string{"bos_token": "<s>", "eos_token": "</s>"}
	b := readBundle(t)
	for name, want := range map[string]Tags{
		"qwen2.5":               {Open: "<think>", Close: "</think>", End: "<|im_end|>\n"},
		"qwen3":                 {Open: "<think>", Close: "</think>", Lead: "<think>\n\n</think>\n\n", End: "<|im_end|>\n"},
		"deepseek-v3":           {Open: "<think>", Close: "</think>", End: "<｜end▁of▁sentence｜>"},
		"phi-3.5":               {Open: "<think>", Close: "</think>", End: "<|end|>\n</s>"},
		"mistral-nemo":          {Open: "<think>", Close: "</think>", End: "</s>"},
		"ministral-3-reasoning": {Open: "[THINK]", Close: "[/THINK]", End: "</s>"},
		"gpt-oss":               {Open: "<|channel|>analysis<|message|>", Also: "<|channel|>commentary<|message|>", Close: "<|end|>", Next: "<|start|>assistant", Lead: "<|channel|>final<|message|>", End: "<|return|>"},
	} {
		template, err := Parse(b.Templates[name].Source)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := template.Tags(roles); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	if !(Tags{Open: "<|channel|>x<|message|>"}).Has("<|message|>") || (Tags{Open: "<think>"}).Has("<|im_end|>") {
		t.Error("got the wrong special tokens in tags")
	}
}

// Reasoning is told from the answer however the text comes in pieces.
func TestSplitter(t *testing.T) {
	think := Tags{Open: "<think>", Close: "</think>", Lead: "<think>\n\n</think>\n\n"}
	channels := Tags{Open: "<|channel|>analysis<|message|>", Also: "<|channel|>commentary<|message|>", Close: "<|end|>", Next: "<|start|>assistant", Lead: "<|channel|>final<|message|>"}
	for _, c := range []struct {
		tags                  Tags
		prompt, text          string
		wantThought, wantSaid string
	}{
		{think, "", "Hello <b>you</b>\n", "", "Hello <b>you</b>\n"},
		{think, "", "<think>\nWhy?\n\n</think>\n\nBecause.", "Why?\n\n", "Because."},
		{think, "", "\n<think>\n\n</think>\n\nBecause.", "", "Because."},
		{think, "<assistant>\n<think>\n", "Why</thin?</think>So.", "Why</thin?", "So."},
		{think, "", "<think>never ends", "never ends", ""},
		{think, "", "<thin", "", "<thin"},
		{think, "", "  two blanks", "", "  two blanks"},
		{think, "", "a </think> b", "", "a </think> b"},
		{think, "", "", "", ""},
		{channels, "", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Hm.", "Yes."},
		{channels, "", "<|channel|>final<|message|>Yes.", "", "Yes."},
		{channels, "", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>analysis<|message|> Well.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Hm.\n\nWell.", "Yes."},
		{channels, "", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Hm.\n\nI look.", "Yes."},
		{channels, "", "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "I look.", "Yes."},
		{channels, "", "<|channel|>analysis<|message|>Hm.<|end|>Yes.", "Hm.", "Yes."},
	} {
		for size := 1; size <= max(1, len(c.text)); size++ {
			s := NewSplitter(c.tags, c.prompt)
			var thought, said string
			tell := func(a, b string) { thought, said = thought+a, said+b }
			for rest := c.text; rest != ""; rest = rest[min(size, len(rest)):] {
				tell(s.Push(rest[:min(size, len(rest))]))
			}
			tell(s.Flush())
			if thought != c.wantThought || said != c.wantSaid {
				t.Errorf("%q in pieces of %d: got %q and %q, want %q and %q", c.text, size, thought, said, c.wantThought, c.wantSaid)
				break
			}
		}
	}
}
