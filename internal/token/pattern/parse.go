// Package pattern matches the regular expressions of tokenizers as their
// reference library does: by backtracking, within bounds, with the general
// categories of Unicode 16.0.
package pattern

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Patterns of tokenizer.json are written for Oniguruma, the reference's
// library, in its Ruby syntax. What real ones use is here: classes with sets
// in sets and &&, \p{...}, groups, (?i:...), look-ahead and look-behind,
// atomic groups, greedy, lazy and possessive repeats, anchors. Groups capture
// nothing, so back references are refused.

const (
	maxPattern = 1 << 14 // bytes
	maxDepth   = 100     // groups in groups
	maxProgram = 1 << 15 // instructions
	maxRepeat  = 1000    // {n}
	endless    = math.MaxInt32
)

type nodeKind uint8

const (
	nodeSet nodeKind = iota
	nodeSeq
	nodeAlt
	nodeRepeat
	nodeLook
	nodeAtomic
	nodeAnchor
)

// node is a part of a parsed pattern.
type node struct {
	kind       nodeKind
	set        *charSet
	subs       []*node
	min, max   int
	lazy       bool
	possessive bool
	negative   bool // of a look
	behind     bool
	anchor     byte // the letter of \A, \z, \Z, \b, \B, or ^ and $
}

// patternParser reads a pattern. An error puts it at the end of the text, so
// that what is being read ends there.
type patternParser struct {
	text  string
	at    int
	depth int
	fold  bool // (?i)
	multi bool // (?m): a dot matches newlines too
	err   error
}

func parsePattern(text string) (*node, error) {
	if len(text) > maxPattern || !utf8.ValidString(text) {
		return nil, fmt.Errorf("got a pattern of %d bytes, want UTF-8 of at most %d", len(text), maxPattern)
	}
	p := &patternParser{text: text}
	n := p.alternatives()
	if p.more() {
		p.fail("got a closing parenthesis, want one opened before")
	}
	return n, p.err
}

// fail records the first error.
func (p *patternParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("pattern %.60q at byte %d: "+format, append([]any{p.text, p.at}, args...)...)
	}
	p.at = len(p.text)
}

func (p *patternParser) more() bool { return p.at < len(p.text) }

// accept takes a literal where the pattern has it.
func (p *patternParser) accept(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *patternParser) next() rune {
	r, n := utf8.DecodeRuneInString(p.text[p.at:])
	p.at += n
	return r
}

// until reads up to end, which is taken too.
func (p *patternParser) until(end, missing string) string {
	text, _, ok := strings.Cut(p.text[p.at:], end)
	if !ok {
		p.fail("%s", missing)
		return ""
	}
	p.at += len(text) + len(end)
	return text
}

// enter counts what is in each other; leave takes it back.
func (p *patternParser) enter(what string) {
	if p.depth++; p.depth > maxDepth {
		p.fail("got more than %d %s in each other", maxDepth, what)
	}
}

func (p *patternParser) leave() { p.depth-- }

// alternatives reads up to a closing parenthesis or the end.
func (p *patternParser) alternatives() *node {
	p.enter("groups")
	defer p.leave()
	seq := &node{kind: nodeSeq}
	alt := &node{kind: nodeAlt, subs: []*node{seq}}
	for p.more() && p.text[p.at] != ')' {
		if p.accept("|") {
			seq = &node{kind: nodeSeq}
			alt.subs = append(alt.subs, seq)
		} else if n := p.term(); n != nil {
			seq.subs = append(seq.subs, n)
		}
	}
	if len(alt.subs) == 1 {
		return seq
	}
	return alt
}

// term reads an atom with its repeats.
func (p *patternParser) term() *node {
	n := p.atom()
	for p.more() {
		from := p.at
		lo, hi, braces, ok := p.repeat()
		if !ok {
			break
		}
		if n == nil || n.kind == nodeLook || n.kind == nodeAnchor {
			p.fail("got a repeat of what matches no text")
			break
		}
		n = &node{kind: nodeRepeat, subs: []*node{n}, min: lo, max: hi}
		exact := braces && !strings.Contains(p.text[from:p.at], ",")
		if exact && p.accept("?") { // {2}? is two or none
			n = &node{kind: nodeRepeat, subs: []*node{n}, max: 1}
		} else if p.accept("?") {
			n.lazy = true
		} else if !braces && p.accept("+") { // {2,3}+ repeats the repeat
			n.possessive = true
		}
		if lo, _ := width(n.subs[0]); hi == endless && lo == 0 {
			p.fail("got an endless repeat of what can match no text")
		}
	}
	return n
}

// repeat reads *, +, ? or {n,m}.
func (p *patternParser) repeat() (lo, hi int, braces, ok bool) {
	switch {
	case p.accept("*"):
		return 0, endless, false, true
	case p.accept("+"):
		return 1, endless, false, true
	case p.accept("?"):
		return 0, 1, false, true
	case p.text[p.at] != '{':
		return 0, 0, false, false
	}
	end := strings.IndexByte(p.text[p.at:], '}')
	if end < 0 {
		return 0, 0, false, false
	}
	from, to, comma := strings.Cut(p.text[p.at+1:p.at+end], ",")
	if from == "" && to == "" {
		return 0, 0, false, false
	}
	number := func(s string, empty int) (int, bool) {
		if s == "" {
			return empty, true
		}
		v, err := strconv.ParseUint(s, 10, 16)
		return int(v), err == nil && v <= maxRepeat
	}
	lo, okLo := number(from, 0)
	hi, okHi := number(to, endless)
	if !comma {
		hi = lo
	}
	if !okLo || !okHi || hi < lo {
		return 0, 0, false, false
	}
	p.at += end + 1
	return lo, hi, true, true
}

// atom reads one thing that a repeat can follow; nil for settings.
func (p *patternParser) atom() *node {
	switch c := p.next(); c {
	case '(':
		return p.group()
	case '[':
		return setNode(p.class(p.fold))
	case '.':
		if p.multi {
			return setNode(not(oneOf()))
		}
		return setNode(not(between('\n', '\n')))
	case '^', '$':
		return &node{kind: nodeAnchor, anchor: byte(c)}
	case '*', '+', '?':
		p.at--
		p.fail("got %q, want something to repeat before it", c)
		return nil
	case '\\':
		return p.escape()
	default:
		return setNode(p.char(c))
	}
}

func setNode(set runes) *node { return &node{set: newCharSet(set)} }

// char is a character, in any case where that is set.
func (p *patternParser) char(r rune) runes {
	set := between(r, r)
	if p.fold && unicode.SimpleFold(r) != r {
		return folded(set)
	}
	return set
}

// group reads behind an opening parenthesis.
func (p *patternParser) group() *node {
	n := &node{kind: nodeSeq}
	fold, multi := p.fold, p.multi
	if p.accept("?") {
		switch {
		case p.accept(":"):
		case p.accept(">"):
			n.kind = nodeAtomic
		case p.accept("="):
			n.kind = nodeLook
		case p.accept("!"):
			n.kind, n.negative = nodeLook, true
		case p.accept("<="):
			n.kind, n.behind = nodeLook, true
		case p.accept("<!"):
			n.kind, n.behind, n.negative = nodeLook, true, true
		case p.accept("#"):
			p.until(")", "got a comment without an end")
			return nil
		case p.accept("<"):
			p.until(">", "got a group's name without an end")
		default:
			p.settings()
			if p.accept(")") { // to the end of the group around
				sub := p.alternatives()
				p.fold, p.multi = fold, multi
				return sub
			}
			if !p.accept(":") {
				p.fail("got an unknown kind of group")
			}
		}
	}
	sub := p.alternatives()
	if !p.accept(")") {
		p.fail("got a group without a closing parenthesis")
	}
	p.fold, p.multi = fold, multi
	n.subs = []*node{sub}
	if lo, hi := width(sub); n.behind && hi > maxRepeat {
		p.fail("got a look-behind of %d to %d characters, want at most %d", lo, hi, maxRepeat)
	}
	return n
}

// settings reads letters such as i in (?i:...).
func (p *patternParser) settings() {
	on := true
	for p.more() && p.text[p.at] != ')' && p.text[p.at] != ':' {
		switch c := p.next(); c {
		case '-':
			on = false
		case 'i':
			p.fold = on
		case 'm':
			p.multi = on
		default:
			p.fail("got the setting %q, want i or m", c)
		}
	}
}

// escape reads behind a backslash outside a class.
func (p *patternParser) escape() *node {
	if p.more() {
		switch c := p.text[p.at]; c {
		case 'A', 'z', 'Z', 'b', 'B':
			p.at++
			return &node{kind: nodeAnchor, anchor: c}
		case '1', '2', '3', '4', '5', '6', '7', '8', '9', 'k', 'g', 'G', 'R', 'X', 'K':
			p.fail("got \\%c, which is not supported", c)
		}
	}
	r, set := p.escaped()
	if set == nil {
		set = p.char(r)
	}
	return setNode(set)
}

// escaped reads behind a backslash what stands for a character or, where that
// is not nil, for a set.
func (p *patternParser) escaped() (rune, runes) {
	if !p.more() {
		p.fail("got a backslash at the end")
		return 0, nil
	}
	c := p.next()
	if set := shorthand(c); set != nil {
		return 0, set
	}
	const letters, characters = "nrtvfae0", "\n\r\t\v\f\a\x1b\x00"
	if i := strings.IndexRune(letters, c); i >= 0 {
		return rune(characters[i]), nil
	}
	switch c {
	case 'p', 'P':
		missing := fmt.Sprintf("got \\%c, want {name} behind it", c)
		if !p.accept("{") {
			p.fail("%s", missing)
		}
		set := p.named(property, p.until("}", missing))
		if c == 'P' {
			return 0, not(set)
		}
		return 0, set
	case 'x':
		return p.hex(2), nil
	case 'u':
		return p.hex(4), nil
	}
	return c, nil
}

func (p *patternParser) named(find func(string) (runes, error), name string) runes {
	set, err := find(name)
	if err != nil {
		p.fail("%w", err)
	}
	return set
}

// hex reads that many hexadecimal digits, or any number in braces.
func (p *patternParser) hex(digits int) rune {
	var text string
	if p.accept("{") {
		text = p.until("}", "got { without }")
	} else {
		text = p.text[p.at:min(p.at+digits, len(p.text))]
		p.at += len(text)
	}
	v, err := strconv.ParseUint(text, 16, 21)
	if err != nil {
		p.fail("got %q, want a character's number in hexadecimal", text)
	}
	return rune(v)
}

// class reads behind an opening bracket. With fold, of the outermost set alone, it
// has its characters in any case.
func (p *patternParser) class(fold bool) runes {
	p.enter("sets")
	defer p.leave()
	negate := p.accept("^")
	var cut, set []runes // cut: what && parts from set
	for first := true; p.more(); first = false {
		switch {
		case !first && p.accept("]"):
			all := allOf(append(cut, oneOf(set...))...)
			if fold {
				all = folded(all)
			}
			if negate {
				return not(all)
			}
			return all
		case p.accept("&&"):
			cut, set = append(cut, oneOf(set...)), nil
		case p.accept("[:"):
			set = append(set, p.named(posix, p.until(":]", "got [: without :]")))
		case p.accept("["):
			set = append(set, p.class(false))
		default:
			set = append(set, p.classItem())
		}
	}
	p.fail("got a set without a closing bracket")
	return oneOf()
}

// classItem reads a character, a range or an escape.
func (p *patternParser) classItem() runes {
	lo, set := p.classChar()
	if set != nil {
		return set
	}
	hi := lo
	if rest := p.text[p.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' && rest[1] != '[' {
		p.at++
		if hi, set = p.classChar(); set != nil || hi < lo {
			p.fail("got a range that ends before it begins")
		}
	}
	return between(lo, hi)
}

func (p *patternParser) classChar() (rune, runes) {
	switch {
	case p.accept(`\b`):
		return '\b', nil
	case p.accept(`\`):
		return p.escaped()
	}
	return p.next(), nil
}

// width returns how many characters n matches at least and at most.
func width(n *node) (lo, hi int) {
	switch n.kind {
	case nodeSet:
		return 1, 1
	case nodeLook, nodeAnchor:
		return 0, 0
	case nodeRepeat:
		l, h := width(n.subs[0])
		if l = min(l*n.min, endless); n.max == endless && h > 0 {
			return l, endless
		}
		return l, min(h*n.max, endless)
	case nodeAlt:
		lo = endless
		for _, s := range n.subs {
			l, h := width(s)
			lo, hi = min(lo, l), max(hi, h)
		}
		return lo, hi
	}
	for _, s := range n.subs {
		l, h := width(s)
		lo, hi = min(lo+l, endless), min(hi+h, endless)
	}
	return lo, hi
}
