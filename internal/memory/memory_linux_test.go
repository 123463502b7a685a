package memory

import (
	"fmt"
	"os"
	"strings"
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

// What is locked is counted as locked by the system, where it may be.
func TestLock(t *testing.T) {
	m := memory(t, 8<<20)
	m.Piece(100)
	part := m.Piece(5 << 20)
	clear(part)
	if b := m.Buffer(4096); unix.Mlock(b) != nil || unix.Munlock(b) != nil {
		t.Skip("this system lets nobody lock memory")
	}
	before := lockedBytes(t)
	m.Lock(part)
	if os.Geteuid() != 0 && lockedBytes(t) == before {
		t.Skip("the limit of locked memory is small: nothing is locked")
	}
	m.Lock(nil)
	if got := lockedBytes(t) - before; got < 5<<20 || got > 5<<20+2<<12 {
		t.Errorf("got %d bytes locked, want 5 MiB in whole pages", got)
	}
}

// lockedBytes is VmLck of proc(5).
func lockedBytes(t *testing.T) (n int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmLck:"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n << 10
}
