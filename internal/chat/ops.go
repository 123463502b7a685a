package chat

import (
	"fmt"
	"html"
	"math"
	"math/big"
	"slices"
	"strings"
)

// escapeHTML is a value's text as the escape filter writes it.
func (s *state) escapeHTML(v any) string {
	if m, ok := v.(markup); ok {
		return string(m)
	}
	text := html.EscapeString(s.str(v))
	s.built(len(text))
	return text
}

// arithmetic is a binary operator of Python's.
func (s *state) arithmetic(op string, a, b any) any {
	if v, ok := s.sequenceOp(op, a, b); ok {
		return v
	}
	s.mustExist(a)
	s.mustExist(b)
	if x, y := asBig(a), asBig(b); x != nil && y != nil {
		return s.integers(op, x, y)
	}
	f, isF := asFloat(a)
	g, isG := asFloat(b)
	if isF && isG {
		return s.floats(op, f, g)
	}
	panic(s.errorf("got %s %s %s, which Python cannot compute", typeName(a), op, typeName(b)))
}

// sequenceOp is an operator on strings or lists, if these are such.
func (s *state) sequenceOp(op string, a, b any) (any, bool) {
	text, isText := asString(a)
	other, isOther := asString(b)
	x, isX := a.(*list)
	y, isY := b.(*list)
	switch {
	case op == "+" && isText && isOther:
		_, aSafe := a.(markup)
		_, bSafe := b.(markup)
		if aSafe || bSafe {
			return markup(s.escapeHTML(a) + s.escapeHTML(b)), true
		}
		s.built(len(text) + len(other))
		return text + other, true
	case op == "+" && isX && isY && x.kind == y.kind && x.kind <= isTuple:
		s.built(wordBytes * (len(x.items) + len(y.items)))
		return &list{items: slices.Concat(x.items, y.items), kind: x.kind}, true
	case op == "%" && isText:
		return s.percent(text, b), true
	case op == "*" && (isText || isX && x.kind <= isTuple):
		if n, ok := asInt(b); ok {
			return s.repeat(a, n), true
		}
	case op == "*" && (isOther || isY && y.kind <= isTuple):
		if n, ok := asInt(a); ok {
			return s.repeat(b, n), true
		}
	}
	return nil, false
}

// repeat is a string or a list n times.
func (s *state) repeat(v any, n int64) any {
	n = max(n, 0)
	size := func(each int) int {
		if n > maxBytes || int64(each)*n > maxBytes {
			return maxBytes + 1
		}
		return each * int(n)
	}
	switch v := v.(type) {
	case string:
		s.built(size(len(v)))
		return strings.Repeat(v, int(n))
	case markup:
		s.built(size(len(v)))
		return markup(strings.Repeat(string(v), int(n)))
	}
	l := v.(*list)
	s.built(size(wordBytes * len(l.items)))
	return &list{items: slices.Repeat(l.items, int(n)), kind: l.kind}
}

func (s *state) integers(op string, x, y *big.Int) any {
	z := new(big.Int)
	switch op {
	case "+":
		return small(z.Add(x, y))
	case "-":
		return small(z.Sub(x, y))
	case "*":
		s.built((x.BitLen() + y.BitLen()) / 8)
		return small(z.Mul(x, y))
	case "**":
		switch {
		case y.Sign() < 0:
			f, _ := x.Float64()
			g, _ := y.Float64()
			return s.floats(op, f, g)
		case x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxPower/int64(x.BitLen())):
			panic(s.errorf("a number takes more than %d bits", maxPower))
		}
		return small(z.Exp(x, y, nil))
	}
	negative := y.Sign() < 0
	if negative { // the quotient stays, and the rest has the sign of y
		x, y = new(big.Int).Neg(x), new(big.Int).Neg(y)
	}
	switch {
	case y.Sign() == 0:
		panic(s.errorf("got a division by zero"))
	case op == "/":
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		return f
	case op == "//":
		return small(z.Div(x, y))
	}
	if z.Mod(x, y); negative {
		z.Neg(z)
	}
	return small(z)
}

func (s *state) floats(op string, x, y float64) any {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		z := math.Pow(x, y)
		if x == 0 && y < 0 || math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) || math.IsNaN(z) && x < 0 {
			panic(s.errorf("got %v ** %v, which is no number", x, y))
		}
		return z
	}
	if y == 0 {
		panic(s.errorf("got a division by zero"))
	}
	if op == "/" {
		return x / y
	}
	rest := math.Mod(x, y)
	if rest != 0 && (rest < 0) != (y < 0) {
		rest += y
	}
	if op == "%" {
		return rest
	}
	whole := (x - rest) / y
	if floor := math.Floor(whole); whole-floor <= 0.5 {
		return floor
	}
	return math.Ceil(whole)
}

// signed is +v or -v.
func (s *state) signed(op string, v any) any {
	s.mustExist(v)
	if n := asBig(v); n != nil {
		if op == "-" {
			return small(new(big.Int).Neg(n))
		}
		return small(n)
	}
	if f, ok := asFloat(v); ok {
		if op == "-" {
			return -f
		}
		return f
	}
	panic(s.errorf("got %s%s, want a number", op, typeName(v)))
}

// attribute is v.name: what Python calls an attribute, or else the item.
func (s *state) attribute(v any, name string) any {
	s.mustExist(v)
	if a, ok := s.attr(v, name); ok {
		return a
	}
	if item, ok := s.lookUp(v, name); ok {
		return item
	}
	return noAttribute(v, name)
}

// item is v[at]: the item or else, of a name, the attribute.
func (s *state) item(v, at any) any {
	s.mustExist(v)
	if item, ok := s.lookUp(v, at); ok {
		return item
	}
	name, ok := asString(at)
	if ok {
		if a, ok := s.attr(v, name); ok {
			return a
		}
		return noAttribute(v, name)
	}
	return &undefined{oneLine(fmt.Sprintf("%s has no element %s", typeName(v), s.short(at)))}
}

func noAttribute(v any, name string) *undefined {
	return &undefined{fmt.Sprintf("%q has no attribute %q", typeName(v), oneLine(fmt.Sprintf("%.80s", name)))}
}

// lookUp is v[at] where there is such an item.
func (s *state) lookUp(v, at any) (any, bool) {
	switch v := v.(type) {
	case *dict:
		switch at.(type) {
		case *list, *dict:
			if l, ok := at.(*list); !ok || l.kind != isTuple {
				return nil, false
			}
		}
		return v.get(s, at)
	case *list:
		if n, ok := asInt(at); ok && v.kind != isView {
			if n < 0 {
				n += int64(len(v.items))
			}
			if n >= 0 && n < int64(len(v.items)) {
				return v.items[n], true
			}
		}
	case string, markup:
		n, ok := asInt(at)
		if !ok {
			return nil, false
		}
		text, _ := asString(v)
		chars := s.runes(text)
		if n < 0 {
			n += int64(len(chars))
		}
		if n < 0 || n >= int64(len(chars)) {
			return nil, false
		}
		return sameKind(v, string(chars[n])), true
	}
	return nil, false
}

// sameKind is text as a string of the kind that v is.
func sameKind(v any, text string) any {
	if _, ok := v.(markup); ok {
		return markup(text)
	}
	return text
}

// runes is a string's characters, which Python counts by.
func (s *state) runes(text string) []rune {
	s.step(len(text) / 8)
	return []rune(text)
}

// attr is what Python's getattr gives. What could change a value, or lead to
// what is not the template's, is undefined, as in the reference's sandbox.
func (s *state) attr(v any, name string) (any, bool) {
	if strings.HasPrefix(name, "__") {
		return &undefined{fmt.Sprintf("access to %.80q of a %s is not safe", name, typeName(v))}, true
	}
	switch v := v.(type) {
	case *namespace:
		return v.attrs.get(s, name)
	case *loop:
		return v.attribute(s, name)
	case *list:
		if _, group := v.named(name); group {
			return v.named(name)
		}
	case *function:
		if name == "name" {
			return v.name, true
		}
	}
	m, changes := s.methodOf(v, name)
	switch {
	case changes:
		return &undefined{fmt.Sprintf("access to %q of a %s is not safe: templates change nothing", name, typeName(v))}, true
	case m != nil:
		return m, true
	}
	return nil, false
}

// slice is v[from:to:step].
func (s *state) slice(v any, of [3]expr) any {
	bound := [3]int64{}
	given := [3]bool{}
	for i, e := range of {
		if e == nil {
			continue
		}
		switch b := e(s).(type) {
		case nil:
		default:
			n, ok := asInt(b)
			if !ok {
				s.mustExist(b)
				panic(s.errorf("got a %s in a slice, want an integer", typeName(b)))
			}
			bound[i], given[i] = n, true
		}
	}
	s.mustExist(v)
	step := int64(1)
	if given[2] {
		step = bound[2]
	}
	if step == 0 {
		panic(s.errorf("got a slice with a step of 0"))
	}
	switch v := v.(type) {
	case string, markup:
		text, _ := asString(v)
		if !given[0] && !given[1] && step == 1 {
			return v
		}
		chars := s.runes(text)
		var b strings.Builder
		for _, i := range sliced(len(chars), bound, given, step) {
			b.WriteRune(chars[i])
		}
		s.built(b.Len())
		return sameKind(v, b.String())
	case *list:
		if v.kind != isView {
			at := sliced(len(v.items), bound, given, step)
			s.built(wordBytes * len(at))
			items := make([]any, len(at))
			for i, j := range at {
				items[i] = v.items[j]
			}
			kind := v.kind
			if kind == isRange {
				kind = isTuple
			}
			return &list{items: items, kind: kind}
		}
	}
	panic(s.errorf("got a slice of a %s, want one of a string or a list", typeName(v)))
}

// sliced is the positions of a slice of n items.
func sliced(n int, bound [3]int64, given [3]bool, step int64) []int {
	size := int64(n)
	low, high := int64(0), size
	if step < 0 {
		low, high = -1, size-1
	}
	clamp := func(i int64) int64 {
		if i < 0 {
			i += size
		}
		return max(low, min(i, high))
	}
	from, to := low, high
	if step < 0 {
		from, to = high, low
	}
	if given[0] {
		from = clamp(bound[0])
	}
	if given[1] {
		to = clamp(bound[1])
	}
	var at []int
	for i := from; step > 0 && i < to || step < 0 && i > to; {
		at = append(at, int(i))
		if step > size || step < -size {
			break
		}
		i += step
	}
	return at
}
