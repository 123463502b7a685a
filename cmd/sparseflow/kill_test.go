package main

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// TestKillWhilePacking kills conversions at random moments, as a power cut or
// the system does: under the pack's name there is a whole pack or nothing.
func TestKillWhilePacking(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "m.sflow")
	began := time.Now()
	if err := exec.Command("sparseflow", "pack", "tiny", "-o", dst).Run(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	killed, finished := 0, 0
	r := rand.New(rand.NewPCG(3, 5))
	for range 25 {
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sparseflow", "pack", "tiny", "-o", dst)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.Float64() * 1.1 * float64(whole)))
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		switch err := pack.Verify(context.Background(), dst, nil); {
		case err == nil:
			finished++
		case errors.Is(err, fs.ErrNotExist):
			killed++
		default:
			t.Fatalf("after a kill: got %v, want a whole pack or none", err)
		}
	}
	t.Logf("%d killed before the pack was there, %d after", killed, finished)
	if killed == 0 {
		t.Error("got no kill before the pack was there: this tests nothing")
	}
	// The next conversion takes away what the killed ones left.
	if err := os.RemoveAll(dst); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("sparseflow", "pack", "tiny", "-o", dst).Run(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("got %v left (%v), want the pack alone", left, err)
	}
}
