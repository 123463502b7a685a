package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignals ends a run in the middle of a text: at once, with the status of
// the signal, the text so far, and nothing left behind.
func TestSignals(t *testing.T) {
	for _, tc := range []struct {
		signal syscall.Signal
		status int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(tc.signal.String(), func(t *testing.T) {
			cache := t.TempDir()
			cmd := exec.Command("sparseflow", "run", "tiny", "Once upon a time", "--max-tokens", "100000", "--ignore-eos", "--ctx", "512", "--budget", "8%", "--cache-dir", cache)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			text := make([]byte, 10)
			if _, err := io.ReadFull(stdout, text); err != nil {
				t.Fatal(err)
			}
			sent := time.Now()
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(stdout)
			if err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			if took := time.Since(sent); took > 2*time.Second {
				t.Errorf("took %v to end", took)
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tc.status {
				t.Errorf("got %v, want exit status %d", err, tc.status)
			}
			if got := string(text) + string(rest); !strings.HasPrefix(got, ", and then") || !strings.HasSuffix(got, "\n") {
				t.Errorf("text: got %q, want what came until the signal, and a line end", got)
			}
			if !strings.HasSuffix(stderr.String(), "sparseflow: ended by "+tc.signal.String()+"\n") {
				t.Errorf("stderr: got %q", stderr.String())
			}
			wantOnlyPacks(t, cache)
		})
	}
}

// TestSignalWhilePacking ends a conversion, which leaves no half file.
func TestSignalWhilePacking(t *testing.T) {
	cache := t.TempDir()
	cmd := exec.Command("sparseflow", "score", "tiny", "--text", "Once", "--cache-dir", cache)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "note: packing tiny") {
		t.Fatalf("stderr: got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// Tiny is packed in an instant: it may have been done.
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 130) {
		t.Errorf("got %v, want exit status 130, or 0", err)
	}
	wantOnlyPacks(t, cache)
}

// TestSignalWhileReading ends a verb that waits for its input.
func TestSignalWhileReading(t *testing.T) {
	cmd := exec.Command("sparseflow", "tokenize", "tiny", "--jsonl")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A line is answered before there is another.
	if _, err := io.WriteString(stdin, "\"Once\"\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "[2,83,1703]\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 143 {
		t.Errorf("got %v, want exit status 143", err)
	}
}

func wantOnlyPacks(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// A sidecar keeps what auto measured.
		if name := e.Name(); !strings.HasSuffix(name, ".sflow") && !strings.HasSuffix(name, ".sflow.side") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// TestInterruptible reads what there is, then ends with the context.
func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	in := newEndingInput(ctx, r)
	go w.Write([]byte("Once"))
	b := make([]byte, 16)
	if n, err := in.Read(b); err != nil || string(b[:n]) != "Once" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	go cancel()
	for range 2 {
		if n, err := in.Read(b); n != 0 || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %d bytes, %v, want the context's end", n, err)
		}
	}
}
