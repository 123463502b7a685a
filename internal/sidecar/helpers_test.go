package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	testSource  = strings.Repeat("0123456789abcdef", 4)
	otherSource = strings.Repeat("fedcba9876543210", 4)
)

// small has every element type, a scalar, an empty tensor and a section of
// either kind alone; its file needs padding.
func small() *Sidecar {
	return New(testSource).
		With("auto", Section{JSON: []byte(`{"modes":["gate","predicted"],"machine":"\u2028 é <&>"}`)}).
		With("profile", Section{JSON: []byte(`{"tokens":7}`), Tensors: map[string]Tensor{
			"counts":  {"U32", []int64{2, 3}, bytes.Repeat([]byte{1, 2, 3, 4}, 6)},
			"share":   {"F16", []int64{3}, []byte{1, 2, 3, 4, 5, 6}},
			"nothing": {"F32", []int64{0, 4}, []byte{}},
		}}).
		With("predictors", Section{Tensors: map[string]Tensor{
			"layers/0/up": {"F32", []int64{1, 2}, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}},
			"bits":        {"U8", []int64{3}, []byte{7, 8, 9}},
			"rank":        {"U32", []int64{}, []byte{2, 0, 0, 0}},
		}})
}

// Write stores the sidecar at path, whatever is there.
func (s *Sidecar) Write(ctx context.Context, path string) error {
	p, err := createPending(ctx, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer p.release()
	return p.store(s)
}

// encode is the sidecar's file.
func encode(t rapid.TB, s *Sidecar) []byte {
	t.Helper()
	l, err := s.layout()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode is Read of a file in memory.
func decode(b []byte) (*Sidecar, error) {
	return Read(bytes.NewReader(b), int64(len(b)), "x.side", testSource)
}

// mustOpen opens the sidecar at path, which is of testSource.
func mustOpen(t testing.TB, path string) *Sidecar {
	t.Helper()
	s, err := Open(path, testSource)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files lists a directory.
func files(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
