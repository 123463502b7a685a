package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
)

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
func text(s string) []byte {
	return append(u64(uint64(len(s))), s...)
}

func file(keys uint64, parts ...[]byte) []byte {
	return append(bytes.Join([][]byte{[]byte("GGUF"), u32(3), u64(7), u64(keys)}, nil), bytes.Join(parts, nil)...)
}

func TestReadHeader(t *testing.T) {
	data := file(8,
		text("a"), u32(typeString), text("x"),
		text("b"), u32(typeArray), u32(typeString), u64(2), text("p"), text(""),
		text("c"), u32(typeArray), u32(typeFloat32), u64(1), u32(math.Float32bits(1.5)),
		text("d"), u32(typeInt8), []byte{0xFF},
		text("e"), u32(typeBool), []byte{1},
		text("f"), u32(typeFloat64), u64(math.Float64bits(2.5)),
		text("g"), u32(typeArray), u32(typeArray), u64(1), u32(typeUint16), u64(1), []byte{3, 0},
		text("h"), u32(typeArray), u32(typeInt32), u64(0),
	)
	h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": "x", "b": []string{"p", ""}, "c": []float32{1.5}, "d": int8(-1), "e": true, "f": 2.5,
		"g": []any{[]uint16{3}}, "h": []int32(nil),
	}
	if !reflect.DeepEqual(h.Metadata, want) || h.Tensors != 7 || h.Version != 3 {
		t.Errorf("got %#v, want %#v", h, want)
	}
	for n := range len(data) {
		if _, err := ReadHeader(bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Fatalf("got no error for the first %d bytes", n)
		}
	}
}

func TestBadHeader(t *testing.T) {
	nested := text("a")
	for range 6 {
		nested = append(append(nested, u32(typeArray)...), u64(1)...)
	}
	for _, tt := range []struct {
		data []byte
		want string
	}{
		{[]byte("GGML....................."), "no GGUF file"},
		{append([]byte("GGUF"), u32(1)...), "got version 1"},
		{append([]byte("GGUF"), 0, 0, 0, 3), "little endian"},
		{file(1<<40, text("a")), "keys of metadata"},
		{file(1, u64(1<<50)), "got a length of"},
		{file(1, text("a"), u32(typeString), u64(1<<62)), `metadata "a": got a length of`},
		{file(1, text("a"), u32(typeArray), u32(typeUint32), u64(1<<61), u32(0)), "got a length of"},
		{file(1, text("a"), u32(99)), "got type 99"},
		{file(1, text("a"), u32(typeArray), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(0), u64(0)), "arrays in each other"},
		{file(1, text("a"), u32(typeUint64)), "is it cut off?"},
	} {
		if _, err := ReadHeader(bytes.NewReader(tt.data), int64(len(tt.data))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want %s", tt.data, err, tt.want)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(file(1, text("a"), u32(typeArray), u32(typeString), u64(2), text("p"), text("")))
	f.Add(file(1, text("a"), u32(typeArray), u32(typeArray), u64(1), u32(typeUint16), u64(1), []byte{3, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		ReadHeader(bytes.NewReader(data), int64(len(data)))
	})
}
