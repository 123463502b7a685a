package gguf

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Encode is the header of a file, with zeros up to the data section. It places
// the tensors one after the other and says so in h: of each, Name, Shape and
// Type are to be given, of h Metadata too.
func (h *Header) Encode() ([]byte, error) {
	h.Version = 3
	var err error
	if h.Alignment, err = alignment(h.Metadata); err != nil {
		return nil, err
	}
	b := []byte("GGUF")
	b = binary.LittleEndian.AppendUint32(b, h.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h.Tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h.Metadata)))
	for _, key := range slices.Sorted(maps.Keys(h.Metadata)) {
		b = appendText(b, key)
		kind, value, err := appendValue(nil, h.Metadata[key])
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", key, err)
		}
		b = append(binary.LittleEndian.AppendUint32(b, kind), value...)
	}
	end := int64(0)
	for i := range h.Tensors {
		t := &h.Tensors[i]
		if t.Bytes, err = t.Type.bytes(t.Shape); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		t.Offset = end
		end = (end + t.Bytes + h.Alignment - 1) &^ (h.Alignment - 1)
		b = appendText(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
		for _, n := range slices.Backward(t.Shape) {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Offset))
	}
	for int64(len(b))%h.Alignment != 0 {
		b = append(b, 0)
	}
	h.Data = int64(len(b))
	for i := range h.Tensors {
		h.Tensors[i].Offset += h.Data
	}
	return b, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends a value and says of which type it is.
func appendValue(b []byte, value any) (kind uint32, _ []byte, err error) {
	switch v := value.(type) {
	case uint8:
		return typeUint8, append(b, v), nil
	case int8:
		return typeInt8, append(b, byte(v)), nil
	case uint16:
		return typeUint16, binary.LittleEndian.AppendUint16(b, v), nil
	case int16:
		return typeInt16, binary.LittleEndian.AppendUint16(b, uint16(v)), nil
	case uint32:
		return typeUint32, binary.LittleEndian.AppendUint32(b, v), nil
	case int32:
		return typeInt32, binary.LittleEndian.AppendUint32(b, uint32(v)), nil
	case float32:
		return typeFloat32, binary.LittleEndian.AppendUint32(b, math.Float32bits(v)), nil
	case bool:
		if v {
			return typeBool, append(b, 1), nil
		}
		return typeBool, append(b, 0), nil
	case string:
		return typeString, appendText(b, v), nil
	case uint64:
		return typeUint64, binary.LittleEndian.AppendUint64(b, v), nil
	case int64:
		return typeInt64, binary.LittleEndian.AppendUint64(b, uint64(v)), nil
	case float64:
		return typeFloat64, binary.LittleEndian.AppendUint64(b, math.Float64bits(v)), nil
	case []any:
		return appendArray(b, typeArray, v)
	case []string:
		return appendArray(b, typeString, v)
	case []uint8:
		return appendArray(b, typeUint8, v)
	case []int8:
		return appendArray(b, typeInt8, v)
	case []uint16:
		return appendArray(b, typeUint16, v)
	case []int16:
		return appendArray(b, typeInt16, v)
	case []uint32:
		return appendArray(b, typeUint32, v)
	case []int32:
		return appendArray(b, typeInt32, v)
	case []float32:
		return appendArray(b, typeFloat32, v)
	case []bool:
		return appendArray(b, typeBool, v)
	case []uint64:
		return appendArray(b, typeUint64, v)
	case []int64:
		return appendArray(b, typeInt64, v)
	case []float64:
		return appendArray(b, typeFloat64, v)
	}
	return 0, nil, fmt.Errorf("got a %T, want a number, a bool, a string or an array", value)
}

func appendArray[T any](b []byte, kind uint32, elements []T) (uint32, []byte, error) {
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(elements)))
	for _, e := range elements {
		var err error
		if _, b, err = appendValue(b, e); err != nil {
			return 0, nil, err
		}
	}
	return typeArray, b, nil
}
