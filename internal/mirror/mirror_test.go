package mirror

import (
	"reflect"
	"strings"
	"testing"
)

type word string

type inner struct{ W word }

type from struct {
	Word  word
	Deep  []inner
	At    *inner
	Same  []int
	Other map[string]bool
	Count int64
}

type otherWord string

type otherInner struct{ W otherWord }

// to has the fields of from in another order.
type to struct {
	Count int64
	Word  otherWord
	Deep  []otherInner
	At    *otherInner
	Same  []int
	Other map[string]bool
}

// There and back is the same value, nil stays nil, and what has one type is
// shared.
func TestTo(t *testing.T) {
	for _, v := range []from{
		{},
		{"a", []inner{{"b"}, {"c"}}, &inner{"d"}, []int{1, 2}, map[string]bool{"e": true}, 7},
	} {
		there := To[to](v)
		if back := To[from](there); !reflect.DeepEqual(back, v) {
			t.Errorf("got %+v, want %+v", back, v)
		}
		if len(v.Same) > 0 && &there.Same[0] != &v.Same[0] {
			t.Error("got a copy of a slice of one type, want the slice")
		}
	}
	if got := To[*to]((*from)(nil)); got != nil {
		t.Errorf("got %v, want nil", got)
	}
}

// Types of other shapes panic, whatever the values.
func TestOtherShapes(t *testing.T) {
	for name, convert := range map[string]func(){
		"kind":    func() { To[string](65) },
		"missing": func() { To[struct{ A, B int }](struct{ A int }{}) },
		"name":    func() { To[struct{ B word }](struct{ A string }{}) },
		"element": func() { To[[]string]([]int{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "mirror: got") {
					t.Errorf("got %v, want a panic that names the types", r)
				}
			}()
			convert()
		})
	}
}
