package chat

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Values are those of Python: nil, bool, int64, *big.Int (from JSON, to be
// printed), float64, string, markup, and the types below.

// markup is a string that the safe and escape filters made: what is added to it
// is escaped for HTML.
type markup string

// undefined is what a name or an attribute that does not exist evaluates to. It
// prints as nothing, and everything else that is done with it fails with hint.
type undefined struct{ hint string }

// kind is what Python calls a list.
type kind uint8

const (
	isList kind = iota
	isTuple
	isView  // dict_keys and the like: iterated, but not indexed
	isRange // indexed as a list
)

// list is a list, a tuple, a view of a dictionary or a range. It never changes.
type list struct {
	items []any
	kind  kind
	name  string // of a view or a range: how it prints
}

func newList(items []any) *list    { return &list{items: items} }
func newTuple(items ...any) *list  { return &list{items: items, kind: isTuple} }
func stringList(in []string) *list { return newList(boxed(in)) }

func boxed(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

// dict is a dictionary in the order of insertion.
type dict struct {
	keys, values []any
	at           map[any]int // by hashable
}

func newDict() *dict { return &dict{at: map[any]int{}} }

func (d *dict) set(s *state, key, value any) {
	h := s.hashable(key, 0)
	if i, ok := d.at[h]; ok {
		d.values[i] = value
		return
	}
	d.at[h] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, value)
}

func (d *dict) get(s *state, key any) (any, bool) {
	i, ok := d.at[s.hashable(key, 0)]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

func (d *dict) items() *list {
	pairs := make([]any, len(d.keys))
	for i, k := range d.keys {
		pairs[i] = newTuple(k, d.values[i])
	}
	return &list{items: pairs, kind: isView, name: "dict_items"}
}

// namespace is what a template may assign attributes of.
type namespace struct{ attrs *dict }

// iterator yields values once, as a Python generator does.
type iterator struct{ next func() (any, bool) }

// function is what can be called.
type function struct {
	name string
	call func(*state, args) any
}

// The keys under which hashable finds what is not a number or a string.
type (
	noneKey      struct{}
	undefinedKey struct{}
	tupleKey     string
)

// hashable is a Go value by which equal keys of a dictionary are equal.
func (s *state) hashable(v any, depth int) any {
	s.tooDeep(depth)
	switch v := v.(type) {
	case nil:
		return noneKey{}
	case string:
		return v
	case markup:
		return string(v)
	case bool, int64:
		n, _ := asInt(v)
		return n
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
		return v
	case *undefined:
		return undefinedKey{}
	case *list:
		if v.kind == isTuple {
			var b strings.Builder
			for _, item := range v.items {
				h := s.hashable(item, depth+1)
				fmt.Fprintf(&b, "%T:%q,", h, fmt.Sprint(h))
				s.built(b.Len() / 8)
			}
			return tupleKey(b.String())
		}
	case *big.Int:
		return v.String() + "n" // no text of a key is likely to be that
	case *function, *namespace, *iterator, *loop:
		return v
	}
	panic(s.errorf("got a %s as a key, want something hashable", typeName(v)))
}

// typeName is the name of a value's type in Python.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *undefined:
		return "Undefined"
	case *list:
		return [...]string{"list", "tuple", v.name, "range"}[v.kind]
	case *dict:
		return "dict"
	case *namespace:
		return "Namespace"
	case *iterator:
		return "generator"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// asInt is v as an integer, which a bool is too.
func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// asFloat is a number as a float.
func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case *big.Int:
		f, _ := v.Float64()
		return f, true
	}
	n, ok := asInt(v)
	return float64(n), ok
}

// asBig is an integer of any size, nil for what is none.
func asBig(v any) *big.Int {
	if b, ok := v.(*big.Int); ok {
		return b
	}
	if n, ok := asInt(v); ok {
		return big.NewInt(n)
	}
	return nil
}

// small is an integer as an int64 if it fits.
func small(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// asString is the text of a string of either kind.
func asString(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// equal is Python's ==.
func (s *state) equal(a, b any, depth int) bool {
	s.tooDeep(depth)
	s.step(1)
	if x, ok := asString(a); ok {
		y, ok := asString(b)
		s.step(min(len(x), len(y)) / scanned)
		return ok && x == y
	}
	if order, ok := numbers(a, b); ok {
		return order == 0
	}
	switch x := a.(type) {
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *list:
		y, ok := b.(*list)
		if !ok || x.kind != y.kind || len(x.items) != len(y.items) {
			return false
		}
		for i := range x.items {
			if !s.equal(x.items[i], y.items[i], depth+1) {
				return false
			}
		}
		return true
	case *dict:
		y, ok := b.(*dict)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for i, k := range x.keys {
			if v, ok := y.get(s, k); !ok || !s.equal(x.values[i], v, depth+1) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(*dict); ok {
		return false
	}
	return a == b // pointers, or none
}

// compare is less than, equal or greater than zero as a stands to b.
func (s *state) compare(a, b any, depth int) int {
	s.tooDeep(depth)
	s.step(1)
	if x, ok := asString(a); ok {
		if y, ok := asString(b); ok {
			s.step(min(len(x), len(y)) / scanned)
			return strings.Compare(x, y)
		}
	}
	if order, ok := numbers(a, b); ok {
		return order
	}
	x, ok := a.(*list)
	if y, also := b.(*list); ok && also && x.kind == y.kind && x.kind <= isTuple {
		for i := range min(len(x.items), len(y.items)) {
			if !s.equal(x.items[i], y.items[i], depth+1) {
				return s.compare(x.items[i], y.items[i], depth+1)
			}
		}
		return cmp.Compare(len(x.items), len(y.items))
	}
	s.mustExist(a)
	s.mustExist(b)
	panic(s.errorf("got %s and %s to compare, which have no order", typeName(a), typeName(b)))
}

// numbers is how two numbers stand to each other, where both are such: 2 where
// one is none by IEEE 754.
func numbers(a, b any) (order int, ok bool) {
	if x, y := asBig(a), asBig(b); x != nil && y != nil {
		return x.Cmp(y), true
	}
	x, isX := asFloat(a)
	y, isY := asFloat(b)
	if math.IsNaN(x) || math.IsNaN(y) {
		return 2, isX && isY
	}
	return cmp.Compare(x, y), isX && isY
}

// str is Python's str().
func (s *state) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	var b strings.Builder
	s.repr(&b, v, 0)
	return b.String()
}

// repr writes what Python's repr() gives.
func (s *state) repr(b *strings.Builder, v any, depth int) {
	s.tooDeep(depth)
	s.step(1)
	from := b.Len()
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		quote(b, v)
	case markup:
		b.WriteString("Markup(")
		quote(b, string(v))
		b.WriteByte(')')
	case *list:
		s.reprList(b, v, depth)
		return
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			s.repr(b, k, depth+1)
			b.WriteString(": ")
			s.repr(b, v.values[i], depth+1)
		}
		b.WriteByte('}')
		s.built(2)
		return
	case *namespace:
		b.WriteString("<Namespace ")
		s.repr(b, v.attrs, depth+1)
		b.WriteByte('>')
	case *loop:
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.index0+1, v.length())
	default:
		b.WriteString(map[bool]string{true: "Undefined", false: "<" + typeName(v) + ">"}[typeName(v) == "Undefined"])
	}
	s.built(b.Len() - from)
}

func (s *state) reprList(b *strings.Builder, v *list, depth int) {
	open, shut := "[", "]"
	switch {
	case v.kind == isRange:
		b.WriteString(v.name)
		s.built(len(v.name))
		return
	case v.kind == isView:
		open, shut = v.name+"([", "])"
	case v.kind == isTuple && len(v.items) == 1:
		open, shut = "(", ",)"
	case v.kind == isTuple:
		open, shut = "(", ")"
	}
	b.WriteString(open)
	for i, item := range v.items {
		if i > 0 {
			b.WriteString(", ")
		}
		s.repr(b, item, depth+1)
	}
	b.WriteString(shut)
	s.built(len(open) + len(shut) + 2*len(v.items))
}

// floatRepr is a float as Python prints it: the shortest digits, with an
// exponent from 1e16 on and below 1e-4.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return map[bool]string{true: "inf", false: "-inf"}[f > 0]
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// quote writes a string as a Python literal.
func quote(b *strings.Builder, text string) {
	q := byte('\'')
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		q = '"'
	}
	b.WriteByte(q)
	for _, r := range text {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}

// length is Python's len(); it reports false for what has none.
func (s *state) length(v any) (int, bool) {
	if text, ok := asString(v); ok {
		s.step(len(text) / scanned)
		return utf8.RuneCountInString(text), true
	}
	switch v := v.(type) {
	case *list:
		return len(v.items), true
	case *dict:
		return len(v.keys), true
	case *undefined:
		return 0, true
	case *loop:
		return v.length(), true
	}
	return 0, false
}

// iterate is Python's iter(): a function that yields the next value until
// there is none.
func (s *state) iterate(v any) func() (any, bool) {
	if next, ok := s.tryIterate(v); ok {
		return next
	}
	panic(s.errorf("got a %s, want something to iterate over", typeName(v)))
}

func (s *state) tryIterate(v any) (func() (any, bool), bool) {
	if text, ok := asString(v); ok {
		return func() (any, bool) {
			if text == "" {
				return nil, false
			}
			s.step(1)
			_, n := utf8.DecodeRuneInString(text)
			char := text[:n]
			text = text[n:]
			return char, true
		}, true
	}
	var items []any
	switch v := v.(type) {
	case *list:
		items = v.items
	case *dict:
		items = v.keys
	case *undefined:
	case *iterator:
		return v.next, true
	default:
		return nil, false
	}
	return func() (any, bool) {
		if len(items) == 0 {
			return nil, false
		}
		s.step(1)
		item := items[0]
		items = items[1:]
		return item, true
	}, true
}

// each is what v yields, for a loop.
func (s *state) each(v any) iter.Seq[any] {
	next := s.iterate(v)
	return func(yield func(any) bool) {
		for item, ok := next(); ok && yield(item); item, ok = next() {
		}
	}
}

// collect is everything that v yields.
func (s *state) collect(v any) []any {
	if l, ok := v.(*list); ok {
		return l.items
	}
	var items []any
	for item := range s.each(v) {
		s.built(wordBytes)
		items = append(items, item)
	}
	return items
}

// contains is Python's in.
func (s *state) contains(in, v any) bool {
	if text, ok := asString(in); ok {
		part, ok := asString(v)
		if !ok {
			panic(s.errorf("got a %s to look for in a string, want a string", typeName(v)))
		}
		s.step(len(text) / scanned)
		return strings.Contains(text, part)
	}
	if d, ok := in.(*dict); ok {
		_, ok := d.get(s, v)
		return ok
	}
	for item := range s.each(in) {
		if s.equal(item, v, 0) {
			return true
		}
	}
	return false
}
