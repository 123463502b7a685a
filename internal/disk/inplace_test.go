package disk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

// writeSplit writes a GGUF model of two files whose tensors lie at multiples of
// 32, some longer than a block; the last ends its file. It returns the first's
// path.
func writeSplit(t testing.TB, dir string) string {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{7})
	const f32, f16, q8, q4k = 0, 1, 8, 12
	for no, tensors := range [][]gguf.Tensor{
		{{Name: "a", Shape: []int64{5}, Type: f32}, {Name: "b", Shape: []int64{9000, 256}, Type: q4k}, {Name: "c", Shape: []int64{33, 32}, Type: q8}},
		{{Name: "d", Shape: []int64{700, 1024}, Type: f16}, {Name: "e", Shape: []int64{3}, Type: f16}},
	} {
		h := gguf.Header{Tensors: tensors, Metadata: map[string]any{"split.no": uint16(no), "split.count": uint16(2)}}
		b, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		last := h.Tensors[len(tensors)-1]
		data := make([]byte, last.Offset+last.Bytes-h.Data)
		rng.Read(data)
		path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-00002.gguf", no+1))
		if err := os.WriteFile(path, append(b, data...), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "m-00001-of-00002.gguf")
}

// openInPlace opens all tensors of a GGUF model by their own names.
func openInPlace(t testing.TB, path string) (*pack.Pack, *source.Checkpoint) {
	t.Helper()
	dir, file := filepath.Split(path)
	c, err := source.OpenGGUF(os.DirFS(dir), dir, file)
	if err != nil {
		t.Fatal(err)
	}
	s := pack.InPlace{Profile: testProfile(), Name: "m", Path: path, Dir: dir, Checkpoint: c}
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		s.Tensors = append(s.Tensors, pack.Placed{Name: name, Vector: len(x.Shape) == 1, Tensor: x})
	}
	p, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, c
}

// Every way to read brings every block and row of files used in place, wherever
// it begins, up to the last byte of each file.
func TestInPlace(t *testing.T) {
	path := writeSplit(t, t.TempDir())
	for _, kind := range []string{"direct", "ring", "buffered", "mmap", "simulated"} {
		t.Run(kind, func(t *testing.T) {
			p, c := openInPlace(t, path)
			var file File
			var err error
			switch kind {
			case "direct", "ring":
				d, ok := openDirect(p.Files(), bundleAlign(p))
				if !ok {
					t.Skip("the file system has no direct reads")
				}
				if file = d; kind == "ring" {
					file = withRing(d)
				}
			case "buffered":
				file, err = openBuffered(p.Files())
			case "mmap":
				file, err = openMapped(p.Files())
			case "simulated":
				file, err = OpenSim(p, SimSpec{IOPS: 1e6, BytesPerSecond: 1e11})
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewDiskWeightStore(p, file)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a := NewAsyncWeightTransfer(s, 2)
			defer a.Close()
			for _, x := range p.Tensors() {
				want := make([]byte, x.Bytes())
				of, _ := c.Tensor(x.Name)
				if _, err := of.ReadAt(want, 0); err != nil {
					t.Fatal(err)
				}
				buf := newMemory(t, memory.BufferBytes(BlockBuffer(x))).Buffer(BlockBuffer(x))
				for b := range x.Blocks() {
					row, rows := x.Block(b)
					part := want[int64(row)*x.RowBytes:][:int64(rows)*x.RowBytes]
					if got, err := s.ReadBlock(x, b, buf); err != nil || !bytes.Equal(got, part) {
						t.Fatalf("block %d of %s: %v, or other bytes", b, x.Name, err)
					}
					clear(buf)
					var got []byte
					r := a.StartBlock(x, b, buf, &got)
					if err := r.Wait(); err != nil || !bytes.Equal(got, part) {
						t.Fatalf("block %d of %s, started: %v, or other bytes", b, x.Name, err)
					}
					r.Release()
				}
				for row := 0; row < x.Rows; row += 1 + x.Rows/7 {
					if got, err := s.ReadRow(x, row, buf); err != nil || !bytes.Equal(got, want[int64(row)*x.RowBytes:][:x.RowBytes]) {
						t.Fatalf("row %d of %s: %v, or other bytes", row, x.Name, err)
					}
				}
			}
		})
	}
}

// Files that change are noticed: before they are opened to be read, and after.
func TestInPlaceChanged(t *testing.T) {
	path := writeSplit(t, t.TempDir())
	p, _ := openInPlace(t, path)
	second := p.Files()[1].Path
	f, err := OpenFile(p, config.IODirect)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewDiskWeightStore(p, f)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CheckUnchanged(); err != nil {
		t.Error(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(second, later, later); err != nil {
		t.Fatal(err)
	}
	wantIn(t, s.CheckUnchanged(), second, "changed while it was in use")
	g, err := OpenFile(p, config.IODirect)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	_, err = NewDiskWeightStore(p, g)
	wantIn(t, err, second, "changed while it was opened")
}

// What names the state of files used in place changes with them.
func TestInPlaceState(t *testing.T) {
	dir := t.TempDir()
	path := writeSplit(t, dir)
	p, _ := openInPlace(t, path)
	again, _ := openInPlace(t, path)
	if p.SourceSHA256() != again.SourceSHA256() || source.CheckHash(p.SourceSHA256()) != nil {
		t.Errorf("got %s, then %s", p.SourceSHA256(), again.SourceSHA256())
	}
	writeSplit(t, dir)
	if now, _ := openInPlace(t, path); now.SourceSHA256() == p.SourceSHA256() {
		t.Error("got the same state of files that were written again")
	}
}

// Vectors are read as float32 whatever they are.
func TestInPlaceVector(t *testing.T) {
	p, c := openInPlace(t, writeSplit(t, t.TempDir()))
	v, err := p.ReadVector("e")
	x, _ := c.Tensor("e")
	if err != nil || len(v) != 3 || x.Stored != "F16" {
		t.Errorf("got %v, %v of %s", v, err, x.Stored)
	}
	if e, _ := p.Tensor("e"); e.MemoryBytes() != 12 || e.Bytes() != 6 {
		t.Errorf("got %d bytes in memory of %d", e.MemoryBytes(), e.Bytes())
	}
}
