package chat

// loop is what a template knows as loop. It looks ahead no further than it is
// asked to, as what comes may depend on what the body does.
type loop struct {
	s             *state
	of            any
	next          func() (any, bool)
	ahead         []any // taken from next, not yet handed out
	index0        int64
	before, now   any
	known         int64 // length, -1 until it is asked for
	depth0        int64
	changed       any
	again         func(s *state, over any, depth0 int64) // of a recursive loop
	everChanged   bool
	beforeDefined bool
}

// advance hands out the next item.
func (l *loop) advance() (any, bool) {
	v, ok := l.peek()
	if !ok {
		return nil, false
	}
	l.ahead = l.ahead[1:]
	l.index0++
	l.beforeDefined = l.index0 > 0
	l.before, l.now = l.now, v
	return v, true
}

func (l *loop) peek() (any, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

// length is the number of items, which takes all of them where the iterable
// does not know it.
func (l *loop) length() int {
	if l.known < 0 {
		if _, once := l.of.(*iterator); !once {
			if n, ok := l.s.length(l.of); ok {
				l.known = int64(n)
				return n
			}
		}
		for v, ok := l.next(); ok; v, ok = l.next() {
			l.s.built(wordBytes)
			l.ahead = append(l.ahead, v)
		}
		l.known = l.index0 + 1 + int64(len(l.ahead))
	}
	return int(l.known)
}

// attribute is loop.name.
func (l *loop) attribute(s *state, name string) (any, bool) {
	switch name {
	case "index":
		return l.index0 + 1, true
	case "index0":
		return l.index0, true
	case "revindex":
		return int64(l.length()) - l.index0, true
	case "revindex0":
		return int64(l.length()) - l.index0 - 1, true
	case "first":
		return l.index0 == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return int64(l.length()), true
	case "depth":
		return l.depth0 + 1, true
	case "depth0":
		return l.depth0, true
	case "previtem":
		if !l.beforeDefined {
			return &undefined{"there is no previous item"}, true
		}
		return l.before, true
	case "nextitem":
		if v, ok := l.peek(); ok {
			return v, true
		}
		return &undefined{"there is no next item"}, true
	case "cycle":
		return &function{"cycle", func(s *state, a args) any {
			if len(a.pos) == 0 {
				panic(s.errorf("loop.cycle: got nothing to choose from"))
			}
			return a.pos[l.index0%int64(len(a.pos))]
		}}, true
	case "changed":
		return &function{"changed", func(s *state, a args) any {
			if v := newTuple(a.pos...); !l.everChanged || !s.equal(l.changed, v, 0) {
				l.changed, l.everChanged = v, true
				return true
			}
			return false
		}}, true
	}
	return nil, false
}

// recurse is loop(...) within a recursive loop: it runs the loop over something
// else and returns what that writes.
func (l *loop) recurse(s *state, a args) any {
	over := a.bind(s, "loop", []string{"iterable"}, nil)[0]
	if l.again == nil {
		panic(s.errorf("got a call of loop, want the loop to be marked recursive"))
	}
	s.enter()
	text := s.captured(func() { l.again(s, over, l.depth0+1) })
	s.leave()
	return text
}

func (p *parser) forLoop() stmt {
	isIn := func() bool { return p.is(name, "in") }
	from := p.pos
	to, _ := p.target(false, isIn)
	if p.mentions(from, "loop")["loop"] {
		panic(p.errorf("got loop as the name of an item, which is the loop's own name"))
	}
	if !p.skipName("in") {
		panic(p.errorf("got %s, want in", p.describe()))
	}
	over := p.tuple(false, p.or, func() bool { return p.is(name, "recursive") })
	var test expr
	var body, otherwise []stmt
	var recursive bool
	p.hard(func() {
		if p.skipName("if") {
			test = p.expression()
		}
		recursive = p.skipName("recursive")
		p.loops++
		var end string
		body, end = p.body("endfor", "else")
		p.loops--
		if end == "else" {
			otherwise = p.closed("endfor")
		}
	})
	return func(s *state) (sig signal) {
		around := s.scope
		var run func(s *state, of any, depth0 int64)
		run = func(s *state, of any, depth0 int64) {
			l := &loop{s: s, of: of, next: s.iterate(of), index0: -1, known: -1, depth0: depth0}
			if recursive {
				l.again = run
			}
			if test != nil {
				l.filter(around, to, test)
			}
			if sig = l.run(around, to, body); sig == goOn {
				s.within(around, func() { sig = runAll(s, otherwise) })
			} else {
				sig = goOn
			}
		}
		run(s, over(s), 0)
		return sig
	}
}

// filter has the loop pass over items for which test is false.
func (l *loop) filter(around *scope, to target, test expr) {
	s, next := l.s, l.next
	l.of = &iterator{next}
	l.next = func() (any, bool) {
		for v, ok := next(); ok; v, ok = next() {
			var pass bool
			s.within(around, func() {
				to(s, v)
				pass = truth(test(s))
			})
			if pass {
				return v, true
			}
		}
		return nil, false
	}
}

// run runs the body for each item. It returns goOn where the loop's else is to
// follow: in the reference that is where no body came to its end.
func (l *loop) run(around *scope, to target, body []stmt) signal {
	s, completed := l.s, goOn
	for v, ok := l.advance(); ok; v, ok = l.advance() {
		var sig signal
		s.within(around, func() {
			s.scope.set("loop", l)
			to(s, v)
			sig = runAll(s, body)
		})
		if sig == breakLoop {
			break
		}
		if sig == goOn {
			completed = breakLoop
		}
	}
	return completed
}
