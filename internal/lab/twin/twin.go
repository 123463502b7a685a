// Package twin writes GGUF twins of golden checkpoints by recipes that
// scripts/moe-twins.py makes, so that tests have the very files that llama.cpp has
// been asked about without keeping them.
package twin

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Checkpoint is the folder of a golden checkpoint of a mixture of experts: in the
// repository, whose root is root, or beside it.
func Checkpoint(root, name string) (dir string, ok bool) {
	for _, at := range []string{"testdata/experts", "../shared/golden/families"} {
		dir, err := filepath.Abs(filepath.Join(root, at, name))
		if err != nil {
			return "", false
		}
		if _, err := os.Stat(dir); err == nil {
			return dir, true
		}
	}
	return "", false
}

// A recipe says what a file consists of.
type recipe struct {
	Bytes   int
	SHA256  string
	Head    []byte // up to the first tensor
	Tensors []part
}

// A part is one tensor of the file.
type part struct {
	Offset int
	From   []string // tensors of the checkpoint, one after the other; of MXFP4 blocks and scales
	MXFP4  bool
	Rows   [2]int // the first of each matrix and the step to the next; elements of a vector
	Heads  int    // whose halves become neighbours, row by row
}

// Write writes the twin of a checkpoint to path. The error tells a file that is not,
// byte for byte, the one that the recipe is of.
func Write(recipePath string, c *source.Checkpoint, path string) error {
	r, err := read(recipePath)
	if err != nil {
		return fmt.Errorf("twin: read %s: %w", recipePath, err)
	}
	file := make([]byte, r.Bytes)
	copy(file, r.Head)
	for _, p := range r.Tensors {
		b, err := p.data(c)
		if err != nil {
			return fmt.Errorf("twin: %s: %w", recipePath, err)
		}
		copy(file[p.Offset:], b)
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != r.SHA256 {
		return fmt.Errorf("twin: %s: got a file of SHA-256 %x, want %s", recipePath, sum, r.SHA256)
	}
	return os.WriteFile(path, file, 0o666)
}

func read(path string) (r recipe, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return r, err
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// data are the bytes of a tensor of the twin.
func (p part) data(c *source.Checkpoint) ([]byte, error) {
	var from []*source.Tensor
	for _, name := range p.From {
		t, ok := c.Tensor(name)
		if !ok {
			return nil, fmt.Errorf("got no tensor %q in the checkpoint", name)
		}
		from = append(from, t)
	}
	if p.MXFP4 {
		t, err := source.MXFP4(from[0], from[1])
		if err != nil {
			return nil, err
		}
		from = []*source.Tensor{t}
	}
	var all []byte
	for _, t := range from {
		b := make([]byte, t.Bytes())
		if _, err := t.ReadAt(b, 0); err != nil {
			return nil, err
		}
		if !p.MXFP4 {
			v := make([]float32, t.Bytes()/t.DType.RowBytes(1))
			tensor.Decode(v, b, t.DType)
			b = make([]byte, tensor.F32.RowBytes(len(v)))
			tensor.Encode(b, v, tensor.F32)
		}
		all = append(all, p.ordered(b, t)...)
	}
	return all, nil
}

// ordered are the rows of a tensor that p wants, b, in its order.
func (p part) ordered(b []byte, t *source.Tensor) []byte {
	rows := 1
	for _, n := range t.Shape[:len(t.Shape)-1] {
		rows *= int(n)
	}
	if p.Rows[1] > 0 && !p.MXFP4 { // biases, [experts, rows]
		rows *= int(t.Shape[len(t.Shape)-1])
	}
	size := len(b) / rows
	var out []byte
	switch {
	case p.Rows[1] > 0:
		for i := p.Rows[0]; i < rows; i += p.Rows[1] {
			out = append(out, b[i*size:][:size]...)
		}
	case p.Heads > 0:
		dim := rows / p.Heads
		for i := range rows {
			at := i/dim*dim + i%dim/2 + i%2*(dim/2)
			out = append(out, b[at*size:][:size]...)
		}
	default:
		return b
	}
	return out
}
