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

// file is one of so many keys, and of no tensor.
func file(keys uint64, parts ...[]byte) []byte { return fileOf(0, keys, parts...) }

func fileOf(tensors, keys uint64, parts ...[]byte) []byte {
	return append(bytes.Join([][]byte{[]byte("GGUF"), u32(3), u64(tensors), u64(keys)}, nil), bytes.Join(parts, nil)...)
}

// tensor is what a header says of one; dims are the fastest first.
func tensor(name string, kind uint32, offset uint64, dims ...uint64) []byte {
	b := append(text(name), u32(uint32(len(dims)))...)
	for _, n := range dims {
		b = append(b, u64(n)...)
	}
	return append(append(b, u32(kind)...), u64(offset)...)
}

// padded is a file with its data section.
func padded(header []byte, align, dataBytes int) []byte {
	for len(header)%align != 0 {
		header = append(header, 0)
	}
	return append(header, make([]byte, dataBytes)...)
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
	if !reflect.DeepEqual(h.Metadata, want) || h.Tensors != nil || h.Version != 3 {
		t.Errorf("got %#v, want %#v", h, want)
	}
	some, err := ReadHeaderWithout(bytes.NewReader(data), int64(len(data)), func(key string) bool { return key != "g" })
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"b", "c", "h"} { // the arrays
		delete(want, key)
	}
	if !reflect.DeepEqual(some.Metadata, want) {
		t.Errorf("without arrays: got %#v, want %#v", some.Metadata, want)
	}
	for n := range len(data) {
		if _, err := ReadHeaderWithout(bytes.NewReader(data[:n]), int64(n), func(string) bool { return true }); err == nil {
			t.Fatalf("without arrays: got no error for the first %d bytes", n)
		}
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
		{append([]byte("GGUF"), 0, 0, 0, 3), "big-endian GGUF file (version 3)"},
		{file(1<<40, text("a")), "keys of metadata"},
		{file(1, u64(1<<50)), "got a length of"},
		{file(1, text("a"), u32(typeString), u64(1<<62)), `metadata "a": got a length of`},
		{file(1, text("a"), u32(typeArray), u32(typeUint32), u64(1<<61), u32(0)), "got a length of"},
		{file(1, text("a"), u32(99)), "got type 99"},
		{file(1, text("a"), u32(typeArray), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(typeArray), u64(1), u32(0), u64(0)), "arrays in each other"},
		{file(1, text("a"), u32(typeUint64)), "is it cut off?"},
		{file(2, text("a"), u32(typeBool), []byte{0}, text("a"), u32(typeBool), []byte{0}), `metadata "a" twice`},
		{file(1, text("general.alignment"), u32(typeUint32), u32(0)), "want a power of two"},
		{file(1, text("general.alignment"), u32(typeUint32), u32(48)), "got 48, want a power of two"},
		{file(1, text("general.alignment"), u32(typeString), text("x")), "got x, want a power of two"},
		{fileOf(1<<40, 0), "count of 1099511627776 tensors"},
		{fileOf(1, 0, tensor("t", 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1)), "got 9 dimensions"},
		{fileOf(1, 0, tensor("t", 0, 0, 1<<40, 1<<40)), "want a product below 2^62"},
		{fileOf(1, 0, tensor("t", 0, 0, 1<<63)), "want a product below 2^62"},
		{fileOf(1, 0, tensor("t", 0, 0, 1<<61)), "fewer than 2^62 bytes"},
		{fileOf(1, 0, tensor("t", 12, 0, 320)), "got rows of 320 elements of Q4_K, want a multiple of 256"},
		{padded(fileOf(1, 0, tensor("t", 0, 0, 9)), 32, 32), "want them inside the 32 bytes after the header"},
		{padded(fileOf(1, 0, tensor("t", 99, 33, 9)), 32, 32), "want them inside the 32 bytes after the header"},
		{padded(fileOf(1, 0, tensor("t", 0, 1<<63, 1)), 32, 32), "got 4 bytes at offset 9223372036854775808"},
		{padded(fileOf(1, 0, tensor("t", 0, 16, 1)), 32, 32), "want a multiple of the alignment 32"},
		{padded(fileOf(2, 0, tensor("t", 0, 0, 1), tensor("t", 0, 32, 1)), 32, 64), `two tensors called "t"`},
		{padded(fileOf(2, 0, tensor("t", 0, 32, 1), tensor("u", 0, 0, 9)), 32, 64), "they overlap"},
		{padded(fileOf(2, 0, tensor("t", 0, 0, 9), tensor("u", 99, 32, 9)), 32, 64), "they overlap"},
	} {
		_, err := ReadHeader(bytes.NewReader(tt.data), int64(len(tt.data)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%q: got error %v, want one line with %s", tt.data, err, tt.want)
		}
	}
}

func TestTensors(t *testing.T) {
	header := fileOf(4, 1, text("general.alignment"), u32(typeUint32), u32(64),
		tensor("a", 0, 64, 3, 2), tensor("b", 12, 128, 256, 3, 2), tensor("c", 99, 0, 5), tensor("d", 1, 0))
	data := padded(header, 64, 128+6*144)
	h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	at := int64(len(data) - 128 - 6*144)
	want := []Tensor{
		{"a", []int64{2, 3}, 0, at + 64, 24},
		{"b", []int64{2, 3, 256}, 12, at + 128, 6 * 144},
		{"c", []int64{5}, 99, at, 0}, // of a type that nobody knows
		{"d", []int64{}, 1, at, 2},
	}
	if !reflect.DeepEqual(h.Tensors, want) || h.Data != at || h.Alignment != 64 {
		t.Errorf("got %+v, want tensors %+v from %d on", h, want, at)
	}
	if got := h.Tensors[2].Type.String() + " " + h.Tensors[1].Type.String(); got != "GGUF type 99 Q4_K" {
		t.Errorf("got types %s", got)
	}
}

// The architecture is known without reading what follows it.
func TestArchitecture(t *testing.T) {
	key := append(text("general.architecture"), u32(typeString)...)
	for want, data := range map[string][]byte{
		"llama": fileOf(9, 9, key, text("llama"), text("cut")),
		"":      file(1, text("a"), u32(typeBool), []byte{1}),
	} {
		if got, err := Architecture(bytes.NewReader(data), int64(len(data))); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if got, err := Architecture(strings.NewReader("nothing"), 7); err == nil || got != "" {
		t.Errorf("got %q, %v, want an error", got, err)
	}
}

// What Encode writes, ReadHeader reads.
func TestEncode(t *testing.T) {
	h := &Header{
		Metadata: map[string]any{
			"a": "x", "b": []string{"p", ""}, "c": []float32{1.5}, "d": int8(-1), "e": true, "f": 2.5, "g": []any{[]uint16{3}, []any(nil)},
			"h": uint8(1), "i": uint16(2), "j": int16(-3), "k": uint32(4), "l": int32(-5), "m": uint64(6), "n": int64(-7), "o": float32(8),
			"p": []uint8{1}, "q": []int8{-1}, "r": []int16{-2}, "s": []uint32{3}, "t": []int32{-4}, "u": []uint64{5}, "v": []int64{-6},
			"w": []float64{7}, "x": []bool{true, false}, "general.alignment": uint32(128),
		},
		Tensors: []Tensor{{Name: "one", Shape: []int64{2, 32}, Type: 8}, {Name: "two", Shape: []int64{7}, Type: 0}},
	}
	data, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	size := h.Tensors[1].Offset + h.Tensors[1].Bytes
	got, err := ReadHeader(bytes.NewReader(append(data, make([]byte, size-h.Data)...)), size)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("got %+v, %v, want %+v", got, err, h)
	}
	if _, err := (&Header{Metadata: map[string]any{"a": 1}}).Encode(); err == nil {
		t.Error("got no error for an int, want one")
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(file(1, text("a"), u32(typeArray), u32(typeString), u64(2), text("p"), text("")))
	f.Add(file(1, text("a"), u32(typeArray), u32(typeArray), u64(1), u32(typeUint16), u64(1), []byte{3, 0}))
	f.Add(padded(fileOf(2, 0, tensor("t", 0, 32, 1), tensor("u", 8, 0, 32, 2)), 32, 128))
	f.Add(padded(fileOf(2, 1, text("general.alignment"), u32(typeUint32), u32(1), tensor("t", 0, 0), tensor("u", 99, 4, 3)), 1, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
		if some, without := ReadHeaderWithout(bytes.NewReader(data), int64(len(data)), func(string) bool { return true }); (err == nil) != (without == nil) {
			t.Fatalf("got error %v, without arrays %v", err, without)
		} else if err == nil && !reflect.DeepEqual(h.Tensors, some.Tensors) {
			t.Fatalf("got tensors %v, without arrays %v", h.Tensors, some.Tensors)
		}
		if err != nil {
			return
		}
		for i, x := range h.Tensors {
			if x.Offset < h.Data || x.Bytes < 0 || x.Offset+x.Bytes > int64(len(data)) && x.Bytes > 0 {
				t.Errorf("got tensor %d at %d of %d bytes in a file of %d", i, x.Offset, x.Bytes, len(data))
			}
		}
	})
}
