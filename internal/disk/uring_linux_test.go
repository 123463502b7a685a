package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// openRing is f's file with a ring, or the test is skipped.
func openRing(t *testing.T, f *fixture) *ringFile {
	t.Helper()
	file, err := OpenFile(f.Pack, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r, ok := file.(*ringFile)
	if !ok {
		t.Logf("IO_URING IS NOT TESTED: the kernel, or the file system of %s, refuses", f.Path())
		t.SkipNow()
	}
	return r
}

// More requests than the ring is deep, submitted at once, all end, in as many
// buffers as they have, or as one system call takes.
func TestRingLimits(t *testing.T) {
	f := makePack(t, 0)
	r := openRing(t, f)
	want, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	a := int(r.Align())
	for _, c := range []struct{ requests, buffers int }{{1, 1}, {3 * ringDepth, 1}, {3 * ringDepth, 3}, {20, 600}, {2, ringVectors}, {2, ringVectors + 1}} {
		n := c.buffers * a
		mem := newMemory(t, memory.BufferBytes(int64(c.requests*n))).Buffer(int64(c.requests * n))
		owners := make([]ends, c.requests)
		var rs []*Request
		for i := range owners {
			q := &Request{Owner: &owners[i], Off: int64(i * a)}
			for k := range c.buffers {
				q.Bufs = append(q.Bufs, mem[i*n+k*a:][:a])
			}
			rs = append(rs, q)
		}
		r.Submit(rs)
		for i := range owners {
			for !owners[i].told {
				r.Poll(true)
			}
			if got, want := owners[i].n, min(n, ringVectors*a); got != want || owners[i].err != nil {
				t.Fatalf("%v: got %d bytes, %v, want %d", c, got, owners[i].err, want)
			}
			if got := mem[i*n:][:owners[i].n]; !bytes.Equal(got, want[i*a:][:len(got)]) {
				t.Fatalf("%v: request %d: got other bytes than the file's", c, i)
			}
		}
		if len(r.free) != ringDepth || len(r.backlog) != 0 {
			t.Errorf("%v: afterwards %d of %d free, %d put off", c, len(r.free), ringDepth, len(r.backlog))
		}
	}
	r.Poll(true) // nothing is under way: it does not wait
}

// ends is an owner that remembers.
type ends struct {
	n    int
	err  error
	told bool
}

func (e *ends) Ended(n int, err error) { e.n, e.err, e.told = n, err, true }

// Requests that the kernel refuses end with its error, and the ring goes on.
func TestRingRefused(t *testing.T) {
	f := makePack(t, 0)
	r := openRing(t, f)
	buf := newMemory(t, 2*memory.PageAlign).Buffer(memory.PageAlign)
	request := func() *ends {
		var e ends
		rs := []*Request{{Owner: &e, Bufs: [][]byte{buf}}, {Owner: new(ends), Bufs: [][]byte{buf}}}
		r.Submit(rs)
		for !e.told {
			r.Poll(false)
		}
		return &e
	}
	good := r.fd
	r.fd = -1
	e := request()
	r.fd = good
	if !errors.Is(e.err, unix.EBADF) {
		t.Errorf("a ring that is none: got %v, want %v", e.err, unix.EBADF)
	}
	if e := request(); e.err != nil || e.n != len(buf) {
		t.Errorf("the ring again: got %d bytes, %v", e.n, e.err)
	}
}

// Where there can be no ring the file is read all the same.
func TestNoRing(t *testing.T) {
	if _, err := newRing(&directFile{files{{File: os.NewFile(1<<20, "none")}}, 512}); err == nil {
		t.Error("a ring of no file: got no error")
	}
	f := makePack(t, 0)
	d, ok := openDirect(f.Files(), bundleAlign(f.Pack))
	if !ok {
		t.Skip("the file system has no direct reads")
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	// No descriptor for a ring is one way to be refused it.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: files.Max}); err != nil {
		t.Fatal(err)
	}
	file := withRing(d)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if _, ok := file.(AsyncFile); ok {
		t.Fatal("got a ring without a descriptor for it")
	}
	a := NewAsyncWeightTransfer(f.store(t, file), 2)
	defer a.Close()
	s := f.slots(t, 1)
	if err := a.StartBundles(1, 7, []int32{0}, s, nil).Wait(); err != nil || !bytes.Equal(s.Bundle(0), f.bundles[1][7]) {
		t.Errorf("got %v or other bytes", err)
	}
}

// TestRefusedRing runs itself where the kernel makes a ring and then refuses to
// use it: reads must go another way.
func TestRefusedRing(t *testing.T) {
	if errno, err := strconv.Atoi(os.Getenv("TEST_REFUSE_ENTER")); err == nil {
		if err := refuse(unix.SYS_IO_URING_ENTER, errno); err != nil {
			t.Fatalf("SECCOMP: %v", err)
		}
		f := makePack(t, 0)
		file, err := OpenFile(f.Pack, "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, ok := file.(*ringFile); ok {
			t.Fatal("got a ring that does not work, want none")
		}
		return
	}
	openRing(t, makePack(t, 0))
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EAGAIN} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRefusedRing$", "-test.timeout=30s")
		cmd.Env = append(os.Environ(), fmt.Sprintf("TEST_REFUSE_ENTER=%d", errno))
		if out, err := cmd.CombinedOutput(); bytes.Contains(out, []byte("SECCOMP")) {
			t.Skipf("no system call can be refused here: %s", out)
		} else if err != nil {
			t.Errorf("%v: %v\n%s", errno, err, out)
		}
	}
}

// refuse makes a system call end with an error in all threads; see seccomp(2).
func refuse(call uint32, errno int) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return errno
	}
	return nil
}
