package pattern

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

type opcode uint8

const (
	opSet    opcode = iota // one character of set
	opRun                  // min to max characters of set
	opSplit                // x, and y where that fails
	opJump                 // to x
	opLook                 // the program at x must match here (not match: negative), then y
	opAtomic               // the first match of the program at x, then y
	opAnchor               // as the letter says
	opMatch                // the end of a program
)

// inst is an instruction of a compiled pattern. Each goes on to the next but
// where x and y are named.
type inst struct {
	op       opcode
	set      *charSet
	first    *[256]bool // opSplit: which bytes x can begin with; nil: any, or none
	x, y     int32
	min, max int // opRun: characters; opLook: where a look-behind may begin
	lazy     bool
	atomic   bool // opRun gives nothing back
	negative bool
	behind   bool
	anchor   byte
}

// Pattern is a compiled expression. It matches by backtracking, which gives the
// same matches as the reference's library does.
type Pattern struct {
	prog    []inst     // empty for a text
	literal string     // the text that matches
	first   *[256]bool // which bytes a match can begin with; nil: any, or none
}

// Literal matches a text. An empty one matches everywhere.
func Literal(text string) *Pattern {
	if text == "" {
		return &Pattern{prog: []inst{{op: opMatch}}}
	}
	return &Pattern{literal: text}
}

// ErrSteps ends matching that takes too long.
var ErrSteps = errors.New("got a text on which a pattern of the tokenizer takes too many steps")

// Compile translates a pattern in the reference's syntax.
func Compile(pattern string) (*Pattern, error) {
	n, err := parsePattern(pattern)
	if err != nil {
		return nil, err
	}
	re := &Pattern{first: firstBytes(n)}
	re.add(n)
	re.emit(inst{op: opMatch})
	if len(re.prog) > maxProgram {
		return nil, fmt.Errorf("pattern %.60q: got more than %d steps", pattern, maxProgram)
	}
	return re, nil
}

func (re *Pattern) emit(i inst) int {
	re.prog = append(re.prog, i)
	return len(re.prog) - 1
}

func (re *Pattern) here() int32 { return int32(len(re.prog)) }

// add appends the instructions of n.
func (re *Pattern) add(n *node) {
	if len(re.prog) > maxProgram {
		return
	}
	switch n.kind {
	case nodeSet:
		re.emit(inst{op: opSet, set: n.set})
	case nodeSeq:
		for _, s := range n.subs {
			re.add(s)
		}
	case nodeAnchor:
		re.emit(inst{op: opAnchor, anchor: n.anchor})
	case nodeAlt:
		var ends []int
		for _, s := range n.subs[:len(n.subs)-1] {
			split := re.emit(inst{op: opSplit, first: firstBytes(s)})
			re.prog[split].x = re.here()
			re.add(s)
			ends = append(ends, re.emit(inst{op: opJump}))
			re.prog[split].y = re.here()
		}
		re.add(n.subs[len(n.subs)-1])
		for _, e := range ends {
			re.prog[e].x = re.here()
		}
	case nodeLook, nodeAtomic:
		i := inst{op: opLook, negative: n.negative, behind: n.behind}
		if n.kind == nodeAtomic {
			i.op = opAtomic
		}
		i.min, i.max = width(n.subs[0])
		re.sub(i, n.subs[0])
	case nodeRepeat:
		re.repeat(n)
	}
}

// sub appends an instruction with a program of its own.
func (re *Pattern) sub(i inst, body *node) {
	at := re.emit(i)
	re.prog[at].x = re.here()
	re.add(body)
	re.emit(inst{op: opMatch})
	re.prog[at].y = re.here()
}

func (re *Pattern) repeat(n *node) {
	body := n.subs[0]
	switch {
	case body.kind == nodeSet && !n.lazy:
		re.emit(inst{op: opRun, set: body.set, min: n.min, max: n.max, atomic: n.possessive})
		return
	case n.possessive:
		greedy := *n
		greedy.possessive = false
		re.sub(inst{op: opAtomic}, &greedy)
		return
	}
	for range n.min {
		if re.add(body); len(re.prog) > maxProgram {
			return
		}
	}
	split := func() int { return re.emit(inst{op: opSplit, lazy: n.lazy, first: firstBytes(body)}) }
	if n.max == endless {
		loop := split()
		re.prog[loop].x = re.here()
		re.add(body)
		re.emit(inst{op: opJump, x: int32(loop)})
		re.prog[loop].y = re.here()
		return
	}
	var optional []int
	for range n.max - n.min {
		at := split()
		optional = append(optional, at)
		re.prog[at].x = re.here()
		if re.add(body); len(re.prog) > maxProgram {
			return
		}
	}
	for _, at := range optional {
		re.prog[at].y = re.here()
	}
}

// firstBytes returns which bytes a match of n can begin with, nil where it can
// match no text.
func firstBytes(n *node) *[256]bool {
	var first [256]bool
	if !addFirst(n, &first) {
		return nil
	}
	return &first
}

// addFirst adds the bytes that n can begin with and reports whether n always
// takes one.
func addFirst(n *node, first *[256]bool) bool {
	switch n.kind {
	case nodeSet:
		for b := range first {
			first[b] = first[b] || b >= 0x80 || n.set.ascii[b]
		}
		return true
	case nodeLook, nodeAnchor:
		return false
	case nodeAlt:
		all := true
		for _, s := range n.subs {
			all = addFirst(s, first) && all
		}
		return all
	case nodeRepeat:
		return addFirst(n.subs[0], first) && n.min > 0
	}
	for _, s := range n.subs {
		if addFirst(s, first) {
			return true
		}
	}
	return false
}

// Matcher is the state of matching in one text, by any patterns. Its steps
// bound the work.
type Matcher struct {
	stack []choice
	steps int   // left
	Err   error // ErrSteps where they ran out
}

// NewMatcher returns a matcher for a text of size bytes. The steps that it may
// take are many times those of a useful pattern.
func NewMatcher(size int) *Matcher { return &Matcher{steps: 1<<24 + 128*size} }

// choice is where to go on when what was chosen fails.
type choice struct {
	pc, pos int32
	least   int32 // opRun: where its shortest run ends; -1: none
}

// visits are the places in a program and in the text that an attempt was at;
// nil as long as it does not remember them.
type visits map[[2]int32]struct{}

// again reports whether the attempt was at a place before, and so failed there.
func (v visits) again(pc int32, pos int) bool {
	if v == nil {
		return false
	}
	at := [2]int32{pc, int32(pos)}
	_, ok := v[at]
	v[at] = struct{}{}
	return ok
}

// memoAfter is how many steps one attempt takes before it remembers the
// places it was at, so that it visits none twice.
const memoAfter = 1 << 14

// Each calls f for the matches in text. An empty match right behind another
// match does not count.
func (re *Pattern) Each(m *Matcher, text string, f func(start, end int)) {
	ended := -1
	for from := 0; from <= len(text); {
		start, end, ok := re.find(m, text, from)
		if !ok {
			return
		}
		if start == end && end == ended {
			_, n := utf8.DecodeRuneInString(text[end:])
			from = end + max(1, n)
			continue
		}
		f(start, end)
		from, ended = end, end
	}
}

// Replace returns text with content for each match.
func (re *Pattern) Replace(m *Matcher, text, content string) string {
	if re.prog == nil {
		return strings.ReplaceAll(text, re.literal, content)
	}
	var out strings.Builder
	at := 0
	re.Each(m, text, func(start, end int) {
		out.WriteString(text[at:start])
		out.WriteString(content)
		at = end
	})
	if out.Len() == 0 && at == 0 {
		return text
	}
	out.WriteString(text[at:])
	return out.String()
}

// find returns the first match at from or behind it, and whether there is one.
func (re *Pattern) find(m *Matcher, text string, from int) (start, end int, ok bool) {
	if re.prog == nil {
		start = from + strings.Index(text[from:], re.literal)
		return start, start + len(re.literal), start >= from
	}
	for start = from; start <= len(text); start++ {
		if re.first != nil {
			for start < len(text) && !re.first[text[start]] {
				start++
			}
			if start == len(text) {
				break
			}
		}
		if start < len(text) && !utf8.RuneStart(text[start]) && start > from {
			continue
		}
		if end, ok := re.run(m, text, 0, start, -1); ok {
			return start, end, true
		}
		if m.steps < 0 {
			m.Err = ErrSteps
		}
		if m.Err != nil {
			break
		}
	}
	return 0, 0, false
}

// run matches the program at pc at a place, up to end if that is not -1, and
// returns where the match ends.
func (re *Pattern) run(m *Matcher, text string, pc int32, at, end int) (int, bool) {
	base, pos := len(m.stack), at
	var seen visits
	for steps := 0; ; steps++ {
		if steps > memoAfter {
			if m.steps -= steps; m.steps < 0 {
				m.Err = ErrSteps
				m.stack = m.stack[:base]
				return 0, false
			}
			steps = 0
			if seen == nil {
				seen = visits{}
			}
		}
		if seen != nil {
			steps += 16 // remembering takes longer than a step
		}
		in := &re.prog[pc]
		fail := false
		switch in.op {
		case opMatch:
			if end < 0 || pos == end {
				m.steps -= steps
				m.stack = m.stack[:base]
				return pos, true
			}
			fail = true
		case opJump:
			pc = in.x
			continue
		case opSet:
			n := in.set.at(text, pos)
			fail = n == 0
			pos += n
		case opRun:
			if fail = seen.again(pc, pos); fail {
				break
			}
			least, to := in.take(text, pos)
			if fail = to < 0; fail {
				break
			}
			if to > least && !in.atomic {
				m.stack = append(m.stack, choice{pc, int32(to), int32(least)})
			}
			steps += (to - pos) / 4
			pos = to
		case opSplit:
			if fail = seen.again(pc, pos); fail {
				break
			}
			switch {
			case in.first != nil && (pos == len(text) || !in.first[text[pos]]):
				pc = in.y
			case in.lazy:
				m.stack = append(m.stack, choice{in.x, int32(pos), -1})
				pc = in.y
			default:
				m.stack = append(m.stack, choice{in.y, int32(pos), -1})
				pc = in.x
			}
			continue
		case opAnchor:
			fail = !anchored(in.anchor, text, pos)
		case opLook:
			if re.look(m, text, in, pos) != in.negative {
				pc = in.y
				continue
			}
			fail = true
		case opAtomic:
			if to, ok := re.run(m, text, in.x, pos, -1); ok {
				pos, pc = to, in.y
				continue
			}
			fail = true
		}
		if !fail {
			pc++
			continue
		}
		if len(m.stack) == base || m.Err != nil {
			m.steps -= steps
			m.stack = m.stack[:base]
			return 0, false
		}
		top := &m.stack[len(m.stack)-1]
		pc, pos = top.pc, int(top.pos)
		if top.least < 0 {
			m.stack = m.stack[:len(m.stack)-1]
			continue
		}
		// The run gives its last character back.
		pos--
		for pos > int(top.least) && !utf8.RuneStart(text[pos]) {
			pos--
		}
		if top.pos = int32(pos); pos == int(top.least) {
			m.stack = m.stack[:len(m.stack)-1]
		}
		pc++
	}
}

// look runs the program of a look-ahead or look-behind.
func (re *Pattern) look(m *Matcher, text string, in *inst, pos int) bool {
	if !in.behind {
		_, ok := re.run(m, text, in.x, pos, -1)
		return ok
	}
	at := pos
	for back := 0; back <= in.max; back++ {
		if back >= in.min {
			if _, ok := re.run(m, text, in.x, at, pos); ok {
				return true
			}
		}
		if at == 0 {
			break
		}
		_, n := utf8.DecodeLastRuneInString(text[:at])
		at -= n
	}
	return false
}

// at returns the length of the character at pos if the set has it, else 0.
func (s *charSet) at(text string, pos int) int {
	if pos >= len(text) {
		return 0
	}
	if c := text[pos]; c < utf8.RuneSelf {
		if s.ascii[c] {
			return 1
		}
		return 0
	}
	if r, n := utf8.DecodeRuneInString(text[pos:]); s.has(r) {
		return n
	}
	return 0
}

// take returns where the shortest and the longest run of the set from pos end,
// -1 if there is none.
func (in *inst) take(text string, pos int) (least, to int) {
	count := 0
	least = pos
	for count < in.max {
		if pos < len(text) && text[pos] < utf8.RuneSelf {
			if !in.set.ascii[text[pos]] {
				break
			}
			pos++
		} else {
			n := in.set.at(text, pos)
			if n == 0 {
				break
			}
			pos += n
		}
		if count++; count == in.min {
			least = pos
		}
	}
	if count < in.min {
		return 0, -1
	}
	return least, pos
}

func anchored(anchor byte, text string, pos int) bool {
	switch anchor {
	case 'A':
		return pos == 0
	case 'z':
		return pos == len(text)
	case 'Z':
		return pos == len(text) || text[pos:] == "\n"
	case '^':
		return pos == 0 || text[pos-1] == '\n' && pos < len(text)
	case '$':
		return pos == len(text) || text[pos] == '\n'
	}
	before, _ := utf8.DecodeLastRuneInString(text[:pos])
	after, _ := utf8.DecodeRuneInString(text[pos:])
	edge := (pos > 0 && isWord(before)) != (pos < len(text) && isWord(after))
	return edge == (anchor == 'b')
}
