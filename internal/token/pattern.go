package token

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
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

type patternParser struct {
	text  string
	at    int
	depth int
	fold  bool // (?i)
	multi bool // (?m): a dot matches newlines too
}

func parsePattern(text string) (*node, error) {
	if len(text) > maxPattern || !utf8.ValidString(text) {
		return nil, fmt.Errorf("got a pattern of %d bytes, want UTF-8 of at most %d", len(text), maxPattern)
	}
	p := &patternParser{text: text}
	n, err := p.alternatives()
	if err == nil && p.at < len(text) {
		err = errors.New("got a closing parenthesis, want one opened before")
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %.60q at byte %d: %w", text, p.at, err)
	}
	return n, nil
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

// alternatives reads up to a closing parenthesis or the end.
func (p *patternParser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("got more than %d groups in each other", maxDepth)
	}
	defer func() { p.depth-- }()
	alt := &node{kind: nodeAlt, subs: []*node{{kind: nodeSeq}}}
	seq := alt.subs[0]
	for p.more() && p.text[p.at] != ')' {
		if p.accept("|") {
			seq = &node{kind: nodeSeq}
			alt.subs = append(alt.subs, seq)
			continue
		}
		n, err := p.term()
		if err != nil {
			return nil, err
		}
		if n != nil {
			seq.subs = append(seq.subs, n)
		}
	}
	if len(alt.subs) == 1 {
		return seq, nil
	}
	return alt, nil
}

// term reads an atom with its repeats.
func (p *patternParser) term() (*node, error) {
	n, err := p.atom()
	for err == nil && p.more() {
		lo, hi, braces, ok := p.repeat()
		if !ok {
			break
		}
		if n == nil || n.kind == nodeLook || n.kind == nodeAnchor {
			return nil, errors.New("got a repeat of what matches no text")
		}
		n = &node{kind: nodeRepeat, subs: []*node{n}, min: lo, max: hi}
		if p.accept("?") {
			n.lazy = true
		} else if !braces && p.accept("+") { // {2,3}+ repeats the repeat
			n.possessive = true
		}
		if hi == endless && nullable(n.subs[0]) {
			return nil, errors.New("got an endless repeat of what can match no text")
		}
	}
	return n, err
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
func (p *patternParser) atom() (*node, error) {
	switch c := p.text[p.at]; c {
	case '(':
		p.at++
		return p.group()
	case '[':
		p.at++
		set, err := p.class()
		return &node{set: set}, err
	case '.':
		p.at++
		set := &charSet{negate: true}
		if !p.multi {
			set.ranges = [][2]rune{{'\n', '\n'}}
		}
		return &node{set: set.seal()}, nil
	case '^', '$':
		p.at++
		return &node{kind: nodeAnchor, anchor: c}, nil
	case '*', '+', '?':
		return nil, fmt.Errorf("got %q, want something to repeat before it", c)
	case '\\':
		return p.escape()
	}
	return p.literal(p.next()), nil
}

func (p *patternParser) literal(r rune) *node {
	set := &charSet{ranges: [][2]rune{{r, r}}}
	if p.fold {
		set.fold()
	}
	return &node{set: set.seal()}
}

// group reads behind an opening parenthesis.
func (p *patternParser) group() (*node, error) {
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
			end := strings.IndexByte(p.text[p.at:], ')')
			if end < 0 {
				return nil, errors.New("got a comment without an end")
			}
			p.at += end + 1
			return nil, nil
		case p.accept("<"):
			end := strings.IndexByte(p.text[p.at:], '>')
			if end < 0 {
				return nil, errors.New("got a group's name without an end")
			}
			p.at += end + 1
		default:
			if err := p.settings(); err != nil {
				return nil, err
			}
			if p.accept(")") { // to the end of the group around
				sub, err := p.alternatives()
				p.fold, p.multi = fold, multi
				return sub, err
			}
			if !p.accept(":") {
				return nil, errors.New("got an unknown kind of group")
			}
		}
	}
	sub, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, errors.New("got a group without a closing parenthesis")
	}
	p.fold, p.multi = fold, multi
	n.subs = []*node{sub}
	if n.behind {
		if lo, hi := width(sub); hi > maxRepeat {
			return nil, fmt.Errorf("got a look-behind of %d to %d characters, want at most %d", lo, hi, maxRepeat)
		}
	}
	return n, nil
}

// settings reads letters such as i in (?i:...).
func (p *patternParser) settings() error {
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
			return fmt.Errorf("got the setting %q, want i or m", c)
		}
	}
	return nil
}

// escape reads what a backslash begins, outside a class.
func (p *patternParser) escape() (*node, error) {
	if p.at+1 < len(p.text) {
		switch c := p.text[p.at+1]; c {
		case 'A', 'z', 'Z', 'b', 'B':
			p.at += 2
			return &node{kind: nodeAnchor, anchor: c}, nil
		case '1', '2', '3', '4', '5', '6', '7', '8', '9', 'k', 'g', 'G', 'R', 'X', 'K':
			return nil, fmt.Errorf("got \\%c, which is not supported", c)
		}
	}
	set, r, err := p.escaped()
	if err != nil {
		return nil, err
	}
	if set != nil {
		return &node{set: set.seal()}, nil
	}
	return p.literal(r), nil
}

// escaped reads an escape that stands for a set or, where that is nil, for a
// character.
func (p *patternParser) escaped() (*charSet, rune, error) {
	p.at++
	if !p.more() {
		return nil, 0, errors.New("got a backslash at the end")
	}
	if set, ok := shorthand(p.text[p.at]); ok {
		p.at++
		return set, 0, nil
	}
	switch c := p.next(); c {
	case 'p', 'P':
		end := strings.IndexByte(p.text[p.at:], '}')
		if !p.accept("{") || end < 0 {
			return nil, 0, fmt.Errorf("got \\%c, want {name} behind it", c)
		}
		set, err := property(p.text[p.at : p.at+end-1])
		p.at += end
		if err == nil && c == 'P' {
			set.negate = !set.negate
		}
		return set, 0, err
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 't':
		return nil, '\t', nil
	case 'v':
		return nil, '\v', nil
	case 'f':
		return nil, '\f', nil
	case 'a':
		return nil, '\a', nil
	case 'e':
		return nil, 0x1B, nil
	case '0':
		return nil, 0, nil
	case 'x', 'u':
		r, err := p.hex(map[rune]int{'x': 2, 'u': 4}[c])
		return nil, r, err
	default:
		return nil, c, nil
	}
}

// hex reads up to digits hexadecimal digits, or any number in braces.
func (p *patternParser) hex(digits int) (rune, error) {
	text := p.text[p.at:]
	skip := 0
	if end := strings.IndexByte(text, '}'); strings.HasPrefix(text, "{") && end > 0 {
		text, skip = text[1:end], 2
	} else {
		text = text[:min(digits, len(text))]
	}
	v, err := strconv.ParseUint(text, 16, 21)
	if err != nil {
		return 0, fmt.Errorf("got %q, want a character's number in hexadecimal", text)
	}
	p.at += len(text) + skip
	return rune(v), nil
}

// class reads behind an opening bracket.
func (p *patternParser) class() (*charSet, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("got more than %d sets in each other", maxDepth)
	}
	defer func() { p.depth-- }()
	all := &charSet{negate: p.accept("^")}
	set := all
	for first := true; ; first = false {
		switch {
		case !p.more():
			return nil, errors.New("got a set without a closing bracket")
		case p.text[p.at] == ']' && !first:
			p.at++
			return all.seal(), nil
		case p.accept("&&"):
			// What stands before is cut with what stands behind.
			set.and = &charSet{}
			set = set.and
		case p.accept("[:"):
			end := strings.Index(p.text[p.at:], ":]")
			if end < 0 {
				return nil, errors.New("got [: without :]")
			}
			sub, err := property(p.text[p.at : p.at+end])
			if err != nil {
				return nil, err
			}
			p.at += end + 2
			set.subs = append(set.subs, sub)
		case p.accept("["):
			sub, err := p.class()
			if err != nil {
				return nil, err
			}
			set.subs = append(set.subs, sub)
		default:
			if err := p.classItem(set); err != nil {
				return nil, err
			}
		}
	}
}

// classItem adds a character, a range or an escape to set.
func (p *patternParser) classItem(set *charSet) error {
	lo, sub, err := p.classChar()
	if err != nil {
		return err
	}
	if sub != nil {
		set.subs = append(set.subs, sub)
		return nil
	}
	hi := lo
	if rest := p.text[p.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' && rest[1] != '[' {
		p.at++
		if hi, sub, err = p.classChar(); err != nil {
			return err
		}
		if sub != nil || hi < lo {
			return errors.New("got a range that ends before it begins")
		}
	}
	item := charSet{ranges: [][2]rune{{lo, hi}}}
	if p.fold {
		item.fold()
	}
	set.ranges = append(set.ranges, item.ranges...)
	return nil
}

func (p *patternParser) classChar() (rune, *charSet, error) {
	if p.text[p.at] != '\\' {
		return p.next(), nil, nil
	}
	if strings.HasPrefix(p.text[p.at:], `\b`) {
		p.at += 2
		return '\b', nil, nil
	}
	set, r, err := p.escaped()
	return r, set, err
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

func nullable(n *node) bool {
	lo, _ := width(n)
	return lo == 0
}
