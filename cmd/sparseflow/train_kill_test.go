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

	"github.com/sparseflow/sparseflow/internal/lab/synth"
)

// TestKillWhileTraining kills trainings of factors at random moments: the
// predictors that were there are still those in use, and nothing else is left
// that anybody would take for them. The model has no tokenizer: it learns from
// drawn ids.
func TestKillWhileTraining(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	model := filepath.Join(dir, "drawn")
	sizes := synth.Sizes{Hidden: 32, Layers: 2, Heads: 2, FFN: 128, Vocab: 400, Context: 128}
	if _, err := synth.WriteDir(t.Context(), model, synth.Options{Profile: sizes.Profile()}); err != nil {
		t.Fatal(err)
	}
	side := filepath.Join(dir, "own.side")
	train := func(seed string) *exec.Cmd {
		return exec.Command("sparseflow", "train", model, "-o", side, "--predictor", "lowrank", "--floor", "recall", "--seed", seed)
	}
	began := time.Now()
	out, err := train("1").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("floor: weighted recall of at least 0.95")) {
		t.Fatalf("%v: %s", err, out)
	}
	whole := time.Since(began)
	before, err := os.ReadFile(side)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 5))
	killed, kills := 0, 4
	if testing.Short() {
		kills = 2
	}
	for range kills {
		cmd := train("2")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration((0.05 + 0.3*r.Float64()) * float64(whole)))
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() != nil {
			killed++
		} else if before, err = os.ReadFile(side); err != nil { // it was quicker than the first
			t.Fatal(err)
		}
	}
	if killed == 0 {
		t.Fatal("got no kill before the training ended: this tests nothing")
	}
	after, err := os.ReadFile(side)
	if err != nil {
		t.Fatal(err)
	}
	// The sections in use are the same bytes.
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
