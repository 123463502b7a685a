package device_test

import (
	"slices"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func TestActViews(t *testing.T) {
	a := device.NewAct(4, 3)
	for i := range a.Data {
		a.Data[i] = float32(i)
	}
	for _, c := range []struct {
		name string
		got  device.Act
		want [][]float32
	}{
		{"whole", a, [][]float32{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}}},
		{"Top", a.Top(2), [][]float32{{0, 1, 2}, {3, 4, 5}}},
		{"Rowspan", a.Rowspan(1, 2), [][]float32{{3, 4, 5}, {6, 7, 8}}},
		{"Rowspan at the end", a.Rowspan(3, 1), [][]float32{{9, 10, 11}}},
		{"Colspan", a.Colspan(1, 2), [][]float32{{1, 2}, {4, 5}, {7, 8}, {10, 11}}},
		{"Colspan of Rowspan", a.Rowspan(2, 2).Colspan(2, 1), [][]float32{{8}, {11}}},
	} {
		if c.got.Rows != len(c.want) || c.got.Cols != len(c.want[0]) {
			t.Errorf("%s: got %d rows of %d, want %d of %d", c.name, c.got.Rows, c.got.Cols, len(c.want), len(c.want[0]))
			continue
		}
		for i, want := range c.want {
			row := c.got.Row(i)
			if !slices.Equal(row, want) {
				t.Errorf("%s: row %d: got %v, want %v", c.name, i, row, want)
			}
			if cap(row) != len(row) {
				t.Errorf("%s: row %d: append would reach beyond it", c.name, i)
			}
		}
	}
}

func TestSlots(t *testing.T) {
	s := device.Slots{Data: make([]byte, 3*64), Stride: 64, DType: tensor.F16, Cols: 7, Parts: 3}
	for i := range s.Data {
		s.Data[i] = byte(i)
	}
	if b := s.Bundle(2); len(b) != 64 || cap(b) != 64 || b[0] != 128 {
		t.Errorf("bundle 2: got %d bytes (room for %d) from %d", len(b), cap(b), b[0])
	}
	for part, want := range []byte{64, 78, 92} {
		if v := s.Vec(1, part); len(v) != 14 || cap(v) != 14 || v[0] != want {
			t.Errorf("slot 1 part %d: got %d bytes (room for %d) from %d, want 14 from %d", part, len(v), cap(v), v[0], want)
		}
	}
	columns := func(s device.Slots, slot int32, want byte) {
		t.Helper()
		c := s.Columns(4, 8)
		if v := c.Of(slot); len(v) != 4 || cap(v) != 4 || v[0] != want {
			t.Errorf("slot %d, bytes 4 to 8 of the last part: got %d bytes (room for %d) from %d, want 4 from %d", slot, len(v), cap(v), v[0], want)
		}
	}
	columns(s, 1, 96)
	// Three neurons from slot 5 on: 42 bytes of a part, and the last in pieces
	// of 8 bytes.
	s = device.Slots{Data: s.Data[:3*42], Stride: 14, DType: tensor.F16, Cols: 7, Parts: 3, PartStride: 42, First: 5}
	columns(s, 6, 84+14+4)
	s.ColBlocks, s.Cols, s.Stride, s.PartStride, s.Data = 2, 8, 16, 48, s.Data[:cap(s.Data)][:3*48]
	columns(s, 6, 96+8+4)
	s2 := s.Columns(8, 12)
	if v := s2.Of(7); v[0] != 96+24+16 {
		t.Errorf("slot 7, the second piece: got from %d, want from %d", v[0], 96+24+16)
	}
	// Eight neurons dealt to four streams: slot 10 is the second of stream 1.
	s.PartStride, s.Data, s.Interleaved = 8*16, make([]byte, 3*8*16), true
	for i := range s.Data {
		s.Data[i] = byte(i / 2)
	}
	columns(s, 5+5, (2*8*16+3*8+4)/2)
	s2 = s.Columns(8, 12)
	if v := s2.Of(5 + 5); v[0] != (2*8*16+8*8+3*8)/2 {
		t.Errorf("slot 10, the second piece: got from %d, want from %d", v[0], (2*8*16+8*8+3*8)/2)
	}
}

func TestWanted(t *testing.T) {
	w := device.Work{IDs: []int32{3, 8}, WantWords: 2, Wants: []uint64{1 << 63, 0b10, 0, 1}}
	for i, tokens := range [][]int{{63, 65}, {64}} {
		for tok := range 128 {
			if got, want := w.Wanted(i, tok), slices.Contains(tokens, tok); got != want {
				t.Errorf("neuron %d token %d: got %v, want %v", i, tok, got, want)
			}
		}
	}
	w.Wants = nil
	if !w.Wanted(1, 99) {
		t.Error("without a mask: got a token that does not want a neuron")
	}
}
