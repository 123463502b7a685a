// Package mirror copies values between types of one shape: the documented types
// of the public API and those that the packages below it work with.
package mirror

import (
	"fmt"
	"reflect"
)

// To returns v as a T. Two structs have one shape if each field of one has a
// field of the same name and shape in the other. Slices and pointers are copied
// where their element types differ, and shared where they do not. Other types
// have one shape if Go converts between them without a change of kind.
//
// It panics where the shapes differ, which is a mistake in the types and no
// matter of their values: a test of each pair finds it.
func To[T any](v any) (t T) {
	set(reflect.ValueOf(&t).Elem(), reflect.ValueOf(v))
	return t
}

func set(dst, src reflect.Value) {
	from, to := src.Type(), dst.Type()
	switch {
	case from.Kind() != to.Kind():
		panic(fmt.Sprintf("mirror: got %v, want the shape of %v", from, to))
	case from.ConvertibleTo(to):
		dst.Set(src.Convert(to))
	case from.Kind() == reflect.Struct && from.NumField() == to.NumField():
		for i := range from.NumField() {
			name := from.Field(i).Name
			field := dst.FieldByName(name)
			if !field.IsValid() {
				panic(fmt.Sprintf("mirror: got field %s of %v, which %v lacks", name, from, to))
			}
			set(field, src.Field(i))
		}
	case from.Kind() == reflect.Slice:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.MakeSlice(to, src.Len(), src.Len()))
		for i := range src.Len() {
			set(dst.Index(i), src.Index(i))
		}
	case from.Kind() == reflect.Pointer:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.New(to.Elem()))
		set(dst.Elem(), src.Elem())
	default:
		panic(fmt.Sprintf("mirror: got %v, want the shape of %v", from, to))
	}
}
