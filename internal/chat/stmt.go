package chat

import (
	"fmt"
	"slices"
	"strings"
)

// A stmt is a statement, ready to be run.
type stmt func(*state) signal

// signal is how a statement ended.
type signal uint8

const (
	goOn signal = iota
	breakLoop
	continueLoop
)

func runAll(s *state, body []stmt) signal {
	for _, st := range body {
		if sig := st(s); sig != goOn {
			return sig
		}
	}
	return goOn
}

// body takes statements up to a tag of one of the names in ends, whose name it
// takes too; without ends up to the end of the template.
func (p *parser) body(ends ...string) (body []stmt, end string) {
	p.nest(func() {
		if ends != nil {
			p.skipOp(":")
			p.expectBlockEnd()
		}
		for {
			t := p.next()
			switch t.kind {
			case data:
				body = append(body, func(s *state) signal {
					s.step(1)
					s.write(t.text)
					return goOn
				})
			case variableBegin:
				body = append(body, p.output())
			case blockBegin:
				if t := p.peek(); t.kind == name && slices.Contains(ends, t.text) {
					p.pos++
					end = t.text
					return
				}
				body = append(body, p.statement())
				p.expectBlockEnd()
			default:
				if ends != nil {
					panic(p.errorf("the template ends, want {%% %s %%}", strings.Join(ends, " or ")))
				}
				return
			}
		}
	})
	return body, end
}

func (p *parser) expectBlockEnd() {
	if p.peek().kind != blockEnd {
		panic(p.errorf("got %s, want the end of the tag", p.describe()))
	}
	p.pos++
}

// closed is body up to the one name in end.
func (p *parser) closed(end string) []stmt {
	body, _ := p.body(end)
	return body
}

// hard parses what lies in a scope of its own, where an unknown filter is an
// error of the template even within a condition.
func (p *parser) hard(f func()) {
	before := p.soft
	p.soft = false
	f()
	p.soft = before
}

func (p *parser) output() stmt {
	e := p.tuple(false, p.expression, nil)
	if p.peek().kind != variableEnd {
		panic(p.errorf("got %s, want the end of the expression", p.describe()))
	}
	p.pos++
	return print(e)
}

func print(items ...expr) stmt {
	return func(s *state) signal {
		for _, e := range items {
			s.write(s.str(e(s)))
		}
		return goOn
	}
}

func (p *parser) statement() stmt {
	line := p.peek().line
	st := p.anyStatement()
	return func(s *state) signal {
		s.line = line
		s.enter()
		sig := st(s)
		s.leave()
		return sig
	}
}

func (p *parser) anyStatement() stmt {
	switch tag := p.expectName(); tag {
	case "for":
		return p.forLoop()
	case "if":
		return p.ifElse()
	case "set":
		return p.assign()
	case "macro":
		return p.macro()
	case "call":
		return p.callBlock()
	case "filter":
		return p.filterBlock()
	case "with":
		return p.with()
	case "print":
		var items []expr
		for p.peek().kind != blockEnd {
			if len(items) > 0 {
				p.expectOp(",")
			}
			items = append(items, p.expression())
		}
		return print(items...)
	case "generation": // marks what a model wrote, for training
		var body []stmt
		p.hard(func() { body = p.closed("endgeneration") })
		return scoped(body)
	case "block":
		n := p.expectName()
		var body []stmt
		p.skipName("scoped")
		p.skipName("required")
		p.hard(func() { body = p.closed("endblock") })
		p.skipName(n)
		return scoped(body)
	case "break", "continue":
		if p.loops == 0 {
			panic(p.errorf("got %s outside a loop", tag))
		}
		sig := map[string]signal{"break": breakLoop, "continue": continueLoop}[tag]
		return func(*state) signal { return sig }
	case "include", "import", "from", "extends", "autoescape":
		panic(p.errorf("got the tag %s, which a chat template has no use for", tag))
	default:
		panic(p.errorf("got the tag %.40q, which does not exist or closes nothing", tag))
	}
}

func scoped(body []stmt) stmt {
	return func(s *state) (sig signal) {
		s.within(s.scope, func() { sig = runAll(s, body) })
		return sig
	}
}

func (p *parser) ifElse() stmt {
	type branch struct {
		test expr
		body []stmt
	}
	before := p.soft
	p.soft = true
	var branches []branch
	end := "elif"
	for end != "endif" {
		b := branch{test: constant(true)}
		if end == "elif" {
			b.test = p.tuple(false, p.or, nil)
			b.body, end = p.body("elif", "else", "endif")
		} else {
			b.body, end = p.body("endif")
		}
		branches = append(branches, b)
	}
	p.soft = before
	return func(s *state) signal {
		for _, b := range branches {
			if truth(b.test(s)) {
				return runAll(s, b.body)
			}
		}
		return goOn
	}
}

// A target is what can be assigned to.
type target func(*state, any)

// target takes a name, an attribute of a namespace, or several with commas.
func (p *parser) target(attributes bool, end func() bool) (target, []string) {
	var targets []target
	var namespaces []string
	isTuple := false
	for {
		if len(targets) > 0 {
			p.expectOp(",")
		}
		if p.isOp(")") || p.isOp("=") || p.peek().kind == blockEnd || end != nil && end() {
			break
		}
		t, ns := p.oneTarget(attributes)
		targets, namespaces = append(targets, t), append(namespaces, ns...)
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	switch {
	case len(targets) == 0:
		panic(p.errorf("got %s, want a name to assign to", p.describe()))
	case !isTuple:
		return targets[0], namespaces
	}
	return func(s *state, v any) {
		items := s.collect(v)
		if len(items) != len(targets) {
			panic(s.errorf("got %d values for %d names", len(items), len(targets)))
		}
		for i, t := range targets {
			t(s, items[i])
		}
	}, namespaces
}

func (p *parser) oneTarget(attributes bool) (t target, namespaces []string) {
	if p.skipOp("(") {
		p.nest(func() { t, namespaces = p.target(attributes, nil) })
		p.expectOp(")")
		return t, namespaces
	}
	n := p.expectName()
	if attributes && p.skipOp(".") {
		attr := p.expectName()
		return func(s *state, v any) { s.namespace(n).set(s, attr, v) }, []string{n}
	}
	if slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, n) {
		p.pos--
		panic(p.errorf("got %s to assign to, want a name", n))
	}
	return func(s *state, v any) { s.scope.set(n, v) }, nil
}

// namespace is the attributes of the namespace called n.
func (s *state) namespace(n string) *dict {
	v, _ := s.scope.find(n)
	ns, ok := v.(*namespace)
	if !ok {
		panic(s.errorf("got an attribute of %q to assign to, which is no namespace", n))
	}
	s.built(4 * wordBytes)
	return ns.attrs
}

func (p *parser) assign() stmt {
	to, namespaces := p.target(true, nil)
	if p.skipOp("=") {
		e := p.tuple(false, p.expression, nil)
		return func(s *state) signal {
			for _, n := range namespaces {
				s.namespace(n)
			}
			to(s, e(s))
			return goOn
		}
	}
	var body []stmt
	filter := func(s *state, v any) any { return v }
	p.hard(func() {
		if p.isOp("|") {
			filter = p.filtersOf(p.filters)
		}
		body = p.closed("endset")
	})
	return func(s *state) (sig signal) {
		var v any
		s.within(s.scope, func() {
			text := s.captured(func() { sig = runAll(s, body) })
			v = filter(s, text)
		})
		if sig == goOn {
			to(s, v)
		}
		return sig
	}
}

// captureName is where a block's text waits for its filters. No template can
// spell it.
const captureName = "{}"

// filtersOf is the filters that parse takes, as a function of what goes in.
func (p *parser) filtersOf(parse func(expr) expr) func(*state, any) any {
	e := parse(func(s *state) any {
		v, _ := s.scope.find(captureName)
		return v
	})
	return func(s *state, v any) any {
		s.scope.set(captureName, v)
		return e(s)
	}
}

func (p *parser) filterBlock() stmt {
	var body []stmt
	var filter func(*state, any) any
	p.hard(func() {
		filter = p.filtersOf(func(e expr) expr { return p.filters(p.filter(e)) })
		body = p.closed("endfilter")
	})
	return func(s *state) (sig signal) {
		s.within(s.scope, func() {
			text := s.captured(func() { sig = runAll(s, body) })
			if sig == goOn {
				s.write(s.str(filter(s, text)))
			}
		})
		return sig
	}
}

func (p *parser) with() stmt {
	var targets []target
	var values []expr
	for p.peek().kind != blockEnd {
		if len(targets) > 0 {
			p.expectOp(",")
		}
		t, _ := p.target(false, nil)
		p.expectOp("=")
		targets, values = append(targets, t), append(values, p.expression())
	}
	var body []stmt
	p.hard(func() { body = p.closed("endwith") })
	return func(s *state) (sig signal) {
		given := evaluate(s, values)
		s.within(s.scope, func() {
			for i, t := range targets {
				t(s, given[i])
			}
			sig = runAll(s, body)
		})
		return sig
	}
}

// signature is the parameters of a macro.
type signature struct {
	names    []string
	defaults []expr // of the last of them
}

func (p *parser) signature() (sig signature) {
	p.expectOp("(")
	p.separated(")", func() expr {
		sig.names = append(sig.names, p.expectName())
		if p.skipOp("=") {
			sig.defaults = append(sig.defaults, p.expression())
		} else if sig.defaults != nil {
			panic(p.errorf("got a parameter without a default behind one with"))
		}
		return nil
	})
	return sig
}

func (p *parser) macro() stmt {
	n := p.expectName()
	var sig signature
	p.hard(func() { sig = p.signature() })
	make := p.macroBody(n, sig, "endmacro")
	return func(s *state) signal {
		s.scope.set(n, make(s))
		return goOn
	}
}

// macroBody takes the body of a macro and returns what makes it in the scope in
// which it is met.
func (p *parser) macroBody(n string, sig signature, end string) (make func(*state) *function) {
	var body []stmt
	var uses map[string]bool
	loops := p.loops
	p.loops = 0
	p.hard(func() {
		from := p.pos
		body = p.closed(end)
		uses = p.mentions(from, "caller", "varargs", "kwargs")
	})
	p.loops = loops
	for _, n := range sig.names {
		delete(uses, n)
	}
	return func(s *state) *function {
		around := s.scope
		return &function{name: n, call: func(s *state, a args) any {
			var text string
			s.within(around, func() {
				s.bindMacro(n, sig, uses, a)
				text = s.captured(func() { runAll(s, body) })
			})
			return text
		}}
	}
}

// mentions is which of names occur from a token to the one that is next.
func (p *parser) mentions(from int, names ...string) map[string]bool {
	found := map[string]bool{}
	for i, t := range p.tokens[from:p.pos] {
		attribute := p.tokens[max(from+i-1, 0)].text == "." && p.tokens[max(from+i-1, 0)].kind == operator
		if t.kind == name && !attribute && slices.Contains(names, t.text) {
			found[t.text] = true
		}
	}
	return found
}

// bindMacro sets a macro's parameters in its scope.
func (s *state) bindMacro(macro string, sig signature, uses map[string]bool, a args) {
	kw := a.kw
	take := func(name string) (any, bool) {
		for i, k := range kw {
			if k.name == name {
				kw = slices.Delete(slices.Clone(kw), i, i+1)
				return k.value, true
			}
		}
		return nil, false
	}
	given := make([]any, len(sig.names))
	for i, n := range sig.names {
		given[i] = absent{}
		if i < len(a.pos) {
			given[i] = a.pos[i]
		} else if v, ok := take(n); ok {
			given[i] = v
		}
	}
	if uses["caller"] {
		caller, ok := take("caller")
		if !ok {
			caller = &undefined{"no caller is defined"}
		}
		s.scope.set("caller", caller)
	}
	if uses["kwargs"] {
		d := newDict()
		for _, k := range kw {
			d.set(s, k.name, k.value)
		}
		s.scope.set("kwargs", d)
	} else if len(kw) > 0 {
		panic(s.errorf("macro %s: got an argument %s that it does not take", macro, kw[0].name))
	}
	if extra := a.pos[min(len(a.pos), len(sig.names)):]; uses["varargs"] {
		s.scope.set("varargs", newTuple(extra...))
	} else if len(extra) > 0 {
		panic(s.errorf("macro %s: got %d arguments, want at most %d", macro, len(a.pos), len(sig.names)))
	}
	for i, n := range sig.names {
		v := given[i]
		if _, missing := v.(absent); missing {
			v = &undefined{fmt.Sprintf("the parameter %q was not given", n)}
			if d := i - (len(sig.names) - len(sig.defaults)); d >= 0 {
				v = sig.defaults[d](s)
			}
		}
		s.scope.set(n, v)
	}
}

func (p *parser) callBlock() stmt {
	// The parameters come before the call that they are for.
	var sig signature
	if p.isOp("(") {
		p.hard(func() { sig = p.signature() })
	}
	from := p.pos
	p.expression()
	site := p.call
	if site.from != from || site.to != p.pos {
		panic(p.errorf("got %s, want a call", p.tokens[from].text))
	}
	make := p.macroBody("caller", sig, "endcall")
	return func(s *state) signal {
		f, a := site.function(s), site.args(s)
		a.kw = append(a.kw, named{"caller", make(s)})
		s.write(s.str(s.call(f, a)))
		return goOn
	}
}
