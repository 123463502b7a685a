package chat

import (
	"strconv"
)

func (p *parser) subscript(of expr) expr {
	if p.skipOp(".") {
		t := p.next()
		switch t.kind {
		case name:
			return p.node(func(s *state) any { return s.attribute(of(s), t.text) })
		case integer:
			n, err := strconv.ParseInt(t.text, 10, 64)
			if err == nil {
				return p.node(func(s *state) any { return s.item(of(s), n) })
			}
		}
		p.pos--
		panic(p.errorf("got %s, want a name or a number after the point", p.describe()))
	}
	p.pos++
	var slices [][3]expr
	sliced := false
	items := p.separated("]", func() expr {
		e, slice := p.index()
		slices, sliced = append(slices, slice), sliced || e == nil
		return e
	})
	switch {
	case sliced && len(items) == 1:
		return p.node(func(s *state) any { return s.slice(of(s), slices[0]) })
	case sliced || len(items) == 0:
		panic(p.errorf("got %d indices, want one", len(items)))
	case len(items) == 1:
		return p.node(func(s *state) any {
			v := of(s)
			return s.item(v, items[0](s))
		})
	}
	return p.node(func(s *state) any {
		v := of(s)
		return s.item(v, newTuple(evaluate(s, items)...))
	})
}

// index takes an index, or a slice, of which what is left out is nil.
func (p *parser) index() (at expr, slice [3]expr) {
	if !p.isOp(":") {
		at = p.expression()
		if !p.isOp(":") {
			return at, slice
		}
	}
	slice[0] = at
	for i := 1; i < 3 && p.skipOp(":"); i++ {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			slice[i] = p.expression()
		}
	}
	return nil, slice
}

// arguments takes the arguments of a call, brackets included.
func (p *parser) arguments() func(*state) args {
	p.expectOp("(")
	var pos, values, star, starStar []expr
	var names []string
	p.separated(")", func() expr {
		switch {
		case len(starStar) > 0 || len(star) > 0 && !p.isOp("**") && !(p.peek().kind == name && p.tokens[p.pos+1].text == "="):
			panic(p.errorf("got %s, want no argument after * or **", p.describe()))
		case p.skipOp("*"):
			star = append(star, p.expression())
		case p.skipOp("**"):
			starStar = append(starStar, p.expression())
		case p.peek().kind == name && p.tokens[p.pos+1].kind == operator && p.tokens[p.pos+1].text == "=":
			names = append(names, p.next().text)
			p.pos++
			values = append(values, p.expression())
		case len(names) > 0:
			panic(p.errorf("got %s, want name=value after another such", p.describe()))
		default:
			pos = append(pos, p.expression())
		}
		return nil
	})
	return func(s *state) args {
		a := args{pos: evaluate(s, pos)}
		for i, n := range names {
			a.kw = append(a.kw, named{n, values[i](s)})
		}
		for _, e := range star {
			a.pos = append(a.pos, s.collect(e(s))...)
		}
		for _, e := range starStar {
			d, ok := e(s).(*dict)
			if !ok {
				panic(s.errorf("got something else after **, want a dictionary"))
			}
			for i, k := range d.keys {
				a.kw = append(a.kw, named{s.text(k), d.values[i]})
			}
		}
		return a
	}
}

func (p *parser) callOf(from int, f expr) expr {
	a := p.arguments()
	p.call = callSite{from, p.pos, f, a}
	return p.node(func(s *state) any {
		callee := f(s)
		return s.call(callee, a(s))
	})
}

// filters takes a chain of filters behind e.
func (p *parser) filters(e expr) expr {
	for p.skipOp("|") {
		e = p.filter(e)
	}
	return e
}

func (p *parser) dotted() string {
	n := p.expectName()
	for p.skipOp(".") {
		n += "." + p.expectName()
	}
	return n
}

func (p *parser) maybeArguments() func(*state) args {
	if p.isOp("(") {
		return p.arguments()
	}
	return func(*state) args { return args{} }
}

func (p *parser) filter(e expr) expr {
	n := p.dotted()
	f, known := builtins.filters[n]
	if !known {
		p.missing("filter", n)
	}
	a := p.maybeArguments()
	return p.node(func(s *state) any {
		v := e(s)
		if !known {
			panic(s.errorf("there is no filter %q", n))
		}
		if text, ok := asString(v); ok {
			s.step(len(text) / scanned)
		}
		return apply(s, n, f, v, a(s))
	})
}

func (p *parser) missing(what, name string) {
	if !p.soft {
		p.unknown = append(p.unknown, p.errorf("there is no %s %q", what, name))
	}
}

// test takes what follows is.
func (p *parser) test(e expr) expr {
	p.pos++
	negate := p.skipName("not")
	n := p.dotted()
	f, known := builtins.tests[n]
	if !known {
		p.missing("test", n)
	}
	a := func(*state) args { return args{} }
	switch t := p.peek(); {
	case p.isOp("("):
		a = p.arguments()
	case p.is(name, "is"):
		panic(p.errorf("got a second is, want tests that are joined by and"))
	case t.kind == name && t.text != "else" && t.text != "or" && t.text != "and",
		t.kind == stringLiteral, t.kind == integer, t.kind == float, p.isOp("["), p.isOp("{"):
		from := p.pos
		arg := p.primary()
		for p.isOp(".") || p.isOp("[") || p.isOp("(") {
			if p.isOp("(") {
				arg = p.callOf(from, arg)
			} else {
				arg = p.subscript(arg)
			}
		}
		a = func(s *state) args { return args{pos: []any{arg(s)}} }
	}
	e2 := p.node(func(s *state) any {
		v := e(s)
		if !known {
			panic(s.errorf("there is no test %q", n))
		}
		return apply(s, n, f, v, a(s))
	})
	if negate {
		return p.negated(e2)
	}
	return e2
}
