package chat

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// An expr is an expression, ready to be evaluated.
type expr func(*state) any

// parser turns tokens into functions that evaluate them, by the grammar of
// jinja2's parser.py. It fails by panics with an *Error.
type parser struct {
	tokens []token
	pos    int
	nested int

	// A filter or test that does not exist is an error of the template, but
	// inside a condition only once it is reached, as templates ask first.
	soft    bool
	unknown []*Error

	loops int // around what is parsed, up to the macro
	call  callSite
}

// callSite is the last call that was parsed, for {% call %}.
type callSite struct {
	from, to int // tokens
	function expr
	args     func(*state) args
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != endOfTemplate {
		p.pos++
	}
	return t
}

func (p *parser) errorf(format string, a ...any) *Error {
	return &Error{Line: p.peek().line, Text: oneLine(fmt.Sprintf(format, a...))}
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && t.text == text
}

func (p *parser) isOp(text string) bool { return p.is(operator, text) }

func (p *parser) skip(kind tokenKind, text string) bool {
	if p.is(kind, text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) skipOp(text string) bool   { return p.skip(operator, text) }
func (p *parser) skipName(text string) bool { return p.skip(name, text) }

func (p *parser) expectOp(text string) {
	if !p.skipOp(text) {
		panic(p.errorf("got %s, want %q", p.describe(), text))
	}
}

func (p *parser) expectName() string {
	if p.peek().kind != name {
		panic(p.errorf("got %s, want a name", p.describe()))
	}
	return p.next().text
}

func (p *parser) describe() string {
	if t := p.peek(); t.kind != endOfTemplate {
		return fmt.Sprintf("%.60q", t.text)
	}
	return "the end of the template"
}

// nest bounds how deep brackets and blocks lie within each other.
func (p *parser) nest(f func()) {
	if p.nested++; p.nested > maxNested {
		panic(p.errorf("brackets or blocks nest more than %d deep", maxNested))
	}
	f()
	p.nested--
}

// node is e with its work and depth counted, and its line told to errors.
func (p *parser) node(e expr) expr {
	line := p.peek().line
	return func(s *state) any {
		s.enter()
		s.line = line
		v := e(s)
		s.leave()
		return v
	}
}

func constant(v any) expr { return func(*state) any { return v } }

// tuple takes an expression, or several with commas, which are a tuple. It
// ends where end says so.
func (p *parser) tuple(brackets bool, one func() expr, end func() bool) expr {
	var items []expr
	isTuple := false
	for {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if t := p.peek(); t.kind == variableEnd || t.kind == blockEnd || p.isOp(")") || end != nil && end() {
			break
		}
		items = append(items, one())
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	switch {
	case !isTuple && len(items) == 1:
		return items[0]
	case !isTuple && !brackets:
		panic(p.errorf("got %s, want an expression", p.describe()))
	}
	return p.node(func(s *state) any { return newTuple(evaluate(s, items)...) })
}

func evaluate(s *state, items []expr) []any {
	s.built(wordBytes * len(items))
	out := make([]any, len(items))
	for i, e := range items {
		out[i] = e(s)
	}
	return out
}

// expression takes a condition or less.
func (p *parser) expression() (e expr) {
	p.nest(func() {
		mark := len(p.unknown)
		e = p.or()
		for p.skipName("if") {
			line := p.peek().line
			yes, test := e, p.or()
			no := constant(&undefined{fmt.Sprintf("the condition of line %d is false and has no else", line)})
			if p.skipName("else") {
				no = p.expression()
			}
			p.unknown = p.unknown[:mark]
			e = p.node(func(s *state) any {
				if truth(test(s)) {
					return yes(s)
				}
				return no(s)
			})
		}
	})
	return e
}

func (p *parser) or() expr  { return p.logic("or", true, p.and) }
func (p *parser) and() expr { return p.logic("and", false, p.not) }

// logic takes operands of or, or of and: the first decides that is of that truth.
func (p *parser) logic(word string, decides bool, operand func() expr) expr {
	e := operand()
	for p.skipName(word) {
		left, right := e, operand()
		e = p.node(func(s *state) any {
			if v := left(s); truth(v) == decides {
				return v
			}
			return right(s)
		})
	}
	return e
}

func (p *parser) not() (e expr) {
	if !p.skipName("not") {
		return p.comparison()
	}
	p.nest(func() { e = p.not() })
	return p.negated(e)
}

func (p *parser) negated(e expr) expr {
	return p.node(func(s *state) any { return !truth(e(s)) })
}

// comparison takes a chain of comparisons, which holds if each link does.
func (p *parser) comparison() expr {
	type link struct {
		op string
		e  expr
	}
	first := p.sum()
	var links []link
	for {
		t := p.peek()
		switch {
		case t.kind == operator && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text), t.kind == name && t.text == "in":
			p.pos++
			links = append(links, link{t.text, p.sum()})
			continue
		case t.kind == name && t.text == "not" && p.tokens[p.pos+1].kind == name && p.tokens[p.pos+1].text == "in":
			p.pos += 2
			links = append(links, link{"not in", p.sum()})
			continue
		}
		break
	}
	if links == nil {
		return first
	}
	return p.node(func(s *state) any {
		left := first(s)
		for _, l := range links {
			right := l.e(s)
			if !s.compares(l.op, left, right) {
				return false
			}
			left = right
		}
		return true
	})
}

func (s *state) compares(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b, 0)
	case "!=":
		return !s.equal(a, b, 0)
	case "in":
		return s.contains(b, a)
	case "not in":
		return !s.contains(b, a)
	}
	switch c := s.compare(a, b, 0); {
	case c == 2:
		return false
	case op == "<":
		return c < 0
	case op == "<=":
		return c <= 0
	case op == ">":
		return c > 0
	default:
		return c >= 0
	}
}

// binary takes operands of one precedence from left to right.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	e := operand()
	for {
		t := p.peek()
		if t.kind != operator || !slices.Contains(ops, t.text) {
			return e
		}
		p.pos++
		left, right := e, operand()
		e = p.node(func(s *state) any {
			a, b := left(s), right(s)
			return s.arithmetic(t.text, a, b)
		})
	}
}

func (p *parser) sum() expr     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.binary(func() expr { return p.unary(true) }, "**") }

func (p *parser) concat() expr {
	first := p.product()
	if !p.isOp("~") {
		return first
	}
	items := []expr{first}
	for p.skipOp("~") {
		items = append(items, p.product())
	}
	return p.node(func(s *state) any {
		var b strings.Builder
		for _, e := range items {
			text := s.str(e(s))
			s.built(len(text))
			b.WriteString(text)
		}
		return b.String()
	})
}

func (p *parser) unary(filters bool) (e expr) {
	from := p.pos
	if op := p.peek().text; p.skipOp("-") || p.skipOp("+") {
		p.nest(func() { e = p.unary(false) })
		inner := e
		e = p.node(func(s *state) any { return s.signed(op, inner(s)) })
	} else {
		e = p.primary()
	}
	for {
		switch {
		case p.isOp(".") || p.isOp("["):
			e = p.subscript(e)
		case p.isOp("("):
			e = p.callOf(from, e)
		case filters && p.isOp("|"):
			e = p.filters(e)
		case filters && p.is(name, "is"):
			e = p.test(e)
		default:
			return e
		}
	}
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case name:
		switch t.text {
		case "true", "True":
			return constant(true)
		case "false", "False":
			return constant(false)
		case "none", "None":
			return constant(nil)
		}
		hint := fmt.Sprintf("%q is undefined", t.text)
		return func(s *state) any {
			s.step(1)
			if v, ok := s.scope.find(t.text); ok {
				return v
			}
			if v := global(t.text); v != nil {
				return v
			}
			return &undefined{hint}
		}
	case stringLiteral:
		text := t.text
		for p.peek().kind == stringLiteral {
			text += p.next().text
		}
		return constant(text)
	case integer:
		digits := strings.ReplaceAll(t.text, "_", "")
		if strings.Trim(digits, "0") == "" {
			digits = "0" // however many
		}
		n, ok := new(big.Int).SetString(digits, 0)
		if !ok || len(digits) > maxDigits {
			panic(p.errorf("got the number %.40s, want a shorter one", t.text))
		}
		return constant(small(n))
	case float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64)
		if err != nil && !math.IsInf(f, 0) {
			panic(p.errorf("got %.40s, want a number", t.text))
		}
		return constant(f)
	case operator:
		switch t.text {
		case "(":
			e := p.tuple(true, p.expression, nil)
			p.expectOp(")")
			return e
		case "[":
			items := p.separated("]", p.expression)
			return p.node(func(s *state) any { return newList(evaluate(s, items)) })
		case "{":
			return p.dict()
		}
	}
	p.pos--
	panic(p.errorf("got %s, want an expression", p.describe()))
}

// separated takes expressions with commas up to a closing bracket.
func (p *parser) separated(shut string, one func() expr) (items []expr) {
	for !p.isOp(shut) {
		if len(items) > 0 {
			p.expectOp(",")
			if p.isOp(shut) {
				break
			}
		}
		items = append(items, one())
	}
	p.pos++
	return items
}

func (p *parser) dict() expr {
	var values []expr
	keys := p.separated("}", func() expr {
		key := p.expression()
		p.expectOp(":")
		values = append(values, p.expression())
		return key
	})
	return p.node(func(s *state) any {
		d := newDict()
		s.built(4 * wordBytes * len(keys))
		for i := range keys {
			k := keys[i](s)
			d.set(s, k, values[i](s))
		}
		return d
	})
}
