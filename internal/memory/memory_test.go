package memory

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// Whatever is taken fits into what PieceBytes and BufferBytes say, starts where
// it should, is zero and overlaps nothing.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type piece struct {
			n      int64
			buffer bool
		}
		pieces := rapid.SliceOf(rapid.Custom(func(t *rapid.T) piece {
			return piece{rapid.Int64Range(1, 9000).Draw(t, "n"), rapid.Bool().Draw(t, "buffer")}
		})).Draw(t, "pieces")
		total := int64(0)
		for _, p := range pieces {
			if p.buffer {
				total += BufferBytes(p.n)
			} else {
				total += PieceBytes(p.n)
			}
		}
		m, err := New(total)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for i, p := range pieces {
			align, take := lineAlign, m.Piece
			if p.buffer {
				align, take = PageAlign, m.Buffer
			}
			b := take(p.n)
			if int64(len(b)) != p.n || cap(b) != len(b) || addressOf(b)%uintptr(align) != 0 {
				t.Fatalf("piece %d: got %d bytes (capacity %d) at %x, want %d at a multiple of %d", i, len(b), cap(b), addressOf(b), p.n, align)
			}
			for j := range b {
				if b[j] != 0 {
					t.Fatalf("piece %d: got %d at byte %d, want 0: another piece is there too", i, b[j], j)
				}
				b[j] = 1
			}
		}
	})
}

func TestMemoryFloats(t *testing.T) {
	m := memory(t, PieceBytes(4*5)+PieceBytes(4*3))
	a, none, b := m.Floats(5), m.Floats(0), m.Floats(3)
	if len(a) != 5 || none != nil || len(b) != 3 {
		t.Fatalf("got %d, %d, %d elements, want 5, 0, 3", len(a), len(none), len(b))
	}
	a[4], b[2] = 1, 2
	if a[4] != 1 || b[2] != 2 {
		t.Error("the pieces overlap")
	}
}

// Asking for more than there is, is a bug: better a panic than bytes shared.
func TestMemoryExhausted(t *testing.T) {
	for _, n := range []int64{100, 128, 4096} {
		for _, over := range []func(*Memory){
			func(m *Memory) { m.Piece(1) },
			func(m *Memory) { m.Buffer(1) },
			func(m *Memory) { m.Floats(1) },
		} {
			m := memory(t, n)
			m.Piece(n)
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("a piece of 1 byte beyond %d: got one, want a panic", n)
					}
				}()
				over(m)
			}()
		}
	}
}

func TestMemorySizes(t *testing.T) {
	if _, err := New(-1); err == nil {
		t.Error("-1 bytes: got no error")
	}
	if _, err := New(1 << 62); err == nil {
		t.Error("more than any machine has: got no error")
	}
	m, err := New(0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing twice is harmless
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
