package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBenchEndsItsProcesses ends bench while a mode's process is at work: by a
// signal to itself alone, and by one that it cannot catch. Neither leaves the
// mode's process behind.
func TestBenchEndsItsProcesses(t *testing.T) {
	for _, tc := range []struct {
		signal syscall.Signal
		status int // -1: killed
	}{{syscall.SIGTERM, 143}, {syscall.SIGKILL, -1}} {
		t.Run(tc.signal.String(), func(t *testing.T) {
			cmd := exec.Command("sparseflow", "bench", "tiny", "--modes", "dense", "--tests", "tg500", "--reps", "100", "--cache-dir", t.TempDir())
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			child := waitForChild(t, cmd.Process.Pid)
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tc.status {
				t.Errorf("got %v, want exit status %d", err, tc.status)
			}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if !isBenchMode(child) {
					return
				}
				if time.Now().After(end) {
					_ = syscall.Kill(child, syscall.SIGKILL)
					t.Fatal("the mode's process lives on")
				}
			}
		})
	}
}

// waitForChild is the process of a mode that bench has started.
func waitForChild(t *testing.T, parent int) int {
	t.Helper()
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		t.Skip("the kernel does not tell of children: ", err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
		for _, p := range paths {
			b, _ := os.ReadFile(p)
			for _, f := range strings.Fields(string(b)) {
				var pid int
				if _, err := fmt.Sscan(f, &pid); err == nil && isBenchMode(pid) {
					return pid
				}
			}
		}
	}
	t.Fatal("saw no process of a mode")
	return 0
}

// isBenchMode reports whether a process is that of a mode and alive.
func isBenchMode(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), benchChild)
}
