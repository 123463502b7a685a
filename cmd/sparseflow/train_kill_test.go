package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKillWhileTraining kills trainings at random moments: the predictor that
// was there is still the one in use, byte for byte in what it computes, and
// nothing else is left that anybody would take for one.
func TestKillWhileTraining(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	side := filepath.Join(dir, "own.side")
	text := filepath.Join(dir, "book.txt")
	sample, err := os.ReadFile("../../testdata/text/books.valid.a.txt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, sample[:14_000], 0o666); err != nil {
		t.Fatal(err)
	}
	train := func(seed string) *exec.Cmd {
		return exec.Command("sparseflow", "train", "tiny", "--file", text, "--ctx", "256", "-o", side, "--predictor", "lowrank", "--seed", seed)
	}
	began := time.Now()
	if out, err := train("1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := time.Since(began)
	before, err := os.ReadFile(side)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 5))
	killed := 0
	for range 3 {
		cmd := train("2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration((0.1 + 0.5*r.Float64()) * float64(whole)))
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() != nil {
			killed++
		}
	}
	if killed == 0 {
		t.Fatal("got no kill before the training ended: this tests nothing")
	}
	after, err := os.ReadFile(side)
	if err != nil {
		t.Fatal(err)
	}
	// What a killed training had finished may have been added; the sections in
	// use are the same bytes.
	for _, section := range []string{"section.sketch", "section.lowrank\""} {
		if a, b := metadata(t, before, section), metadata(t, after, section); a != b {
			t.Errorf("%s: got %.80s, want it as it was, %.80s", section, b, a)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".sparseflow-inputs-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("got %v left (%v), want nothing", left, err)
	}
}

// metadata is the value of a key in a safetensors header.
func metadata(t *testing.T, file []byte, key string) string {
	t.Helper()
	key = "\"" + strings.TrimSuffix(key, "\"") + "\":"
	_, rest, ok := bytes.Cut(file, []byte(key))
	if !ok {
		t.Fatalf("got no %s in the sidecar", key)
	}
	value, _, _ := bytes.Cut(rest, []byte(`","`))
	return string(value)
}
