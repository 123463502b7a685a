package memory

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pagesIn is how many pages of a part of m are in memory.
func pagesIn(t *testing.T, m *Memory, part []byte) (n int) {
	t.Helper()
	page := int64(os.Getpagesize())
	in := make([]byte, (int64(len(m.all))+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(m.all))), uintptr(len(m.all)), uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		t.Fatal("mincore:", errno)
	}
	for at := m.offset(part) / page; at <= (m.offset(part)+int64(len(part))-1)/page; at++ {
		n += int(in[at] & 1)
	}
	return n
}

// What is prepared is there, what was written before is as it was, and the rest
// is left alone.
func TestPrepare(t *testing.T) {
	const part = 1000_100
	if one := memory(t, 4096); !populate(one.all) {
		t.Skip("this kernel does not populate memory")
	}
	m := memory(t, 10*part)
	pieces := make([][]byte, 9)
	for i := range pieces {
		pieces[i] = m.Piece(part)
	}
	pieces[3][7] = 5
	m.Prepare(m.all[m.used:], pieces[1], nil, pieces[3][:0], pieces[3], pieces[4])
	m.preparing.Wait()
	if pieces[3][7] != 5 {
		t.Error("what was written before is gone")
	}
	for what, b := range map[string][]byte{"rest": m.all[m.used:], "piece 1": pieces[1], "piece 3": pieces[3], "piece 4": pieces[4]} {
		if got, want := pagesIn(t, m, b), len(b)/os.Getpagesize(); got < want {
			t.Errorf("%s: got %d pages in memory, want %d or more", what, got, want)
		}
	}
}

// Memory is not prepared any further once it is to be given back.
func TestPrepareStops(t *testing.T) {
	m := memory(t, 10<<20)
	m.closing.Store(true)
	m.Prepare(m.all[m.used:])
	m.preparing.Wait()
	if got := pagesIn(t, m, m.all); got > 0 {
		t.Errorf("got %d pages in memory, want none", got)
	}
}
