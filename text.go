package sparseflow

import "strings"

// textOut turns generated tokens into text, up to the first stop string. Text
// that could be the beginning of a stop string is held back.
type textOut struct {
	decoder *StreamDecoder // nil without a tokenizer
	special func(id int32) (string, bool)
	shown   func(special string) bool // which special tokens are text; nil: none
	stop    []string
	onText  func(string)
	all     strings.Builder
	held    string
	stopped bool
}

func newTextOut(t *Tokenizer, stop []string, onText func(string)) *textOut {
	o := &textOut{stop: stop, onText: onText}
	if t != nil {
		o.decoder = t.NewDecoder()
		o.decoder.SkipSpecial = true
		o.special = func(id int32) (string, bool) {
			text, _ := t.Token(id)
			return text, t.IsSpecial(id)
		}
	}
	return o
}

// push takes the next token and reports whether to go on.
func (o *textOut) push(id int32) bool {
	if o.decoder == nil {
		return true
	}
	if o.shown != nil {
		text, special := o.special(id)
		o.decoder.SkipSpecial = !special || !o.shown(text)
	}
	o.add(o.decoder.Push(id))
	return !o.stopped
}

// flush ends the text.
func (o *textOut) flush() {
	if o.decoder == nil || o.stopped {
		return
	}
	if o.add(o.decoder.Flush()); !o.stopped {
		o.emit(o.held)
	}
}

func (o *textOut) text() string { return o.all.String() }

func (o *textOut) add(s string) {
	o.held += s
	at := -1
	for _, stop := range o.stop {
		if i := strings.Index(o.held, stop); stop != "" && i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at >= 0 {
		o.emit(o.held[:at])
		o.held, o.stopped = "", true
		return
	}
	keep := 0
	for _, stop := range o.stop {
		for n := min(len(stop)-1, len(o.held)); n > keep; n-- {
			if strings.HasSuffix(o.held, stop[:n]) {
				keep = n
			}
		}
	}
	out := o.held[:len(o.held)-keep]
	o.held = o.held[len(out):]
	o.emit(out)
}

func (o *textOut) emit(s string) {
	if s == "" {
		return
	}
	o.all.WriteString(s)
	if o.onText != nil {
		o.onText(s)
	}
}
