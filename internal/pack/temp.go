package pack

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/sparseflow/sparseflow/internal/pack/filelock"
)

// Temporary files are called tempPrefix, random letters, tempSuffix.
const (
	tempPrefix = ".sparseflow-pack-"
	tempSuffix = ".tmp"
)

// createTemp makes a file in dir and locks it for as long as it is open, which
// is how sweepTemps tells it from what a killed process left.
func createTemp(dir string) (*os.File, error) {
	for {
		path := filepath.Join(dir, tempPrefix+rand.Text()+tempSuffix)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return nil, err
		}
		held, err := filelock.Try(f)
		// Without locks nobody can sweep it either. With them a sweep may have
		// taken it for left over between creation and lock.
		if err != nil {
			return f, nil
		}
		if same, err := filelock.LeadsTo(path, f); held && same && err == nil {
			return f, nil
		}
		f.Close()
	}
}

// sweepTemps removes the temporary files in dir that no living process holds.
// It does what it can: a file that cannot be locked or removed stays.
func sweepTemps(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // creating the next file will tell
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if held, err := filelock.Try(f); held && err == nil {
			os.Remove(path)
		}
		f.Close()
	}
}
