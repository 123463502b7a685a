package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// Bundles, blocks, rows, matrices and vectors are the pack's, by every way to
// read, the first time and later.
func TestStoreReads(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		s := f.store(t, file)
		rng := rand.New(rand.NewPCG(1, 2))
		ffn := f.Profile().FFN
		slots := f.slots(t, ffn)
		for range 60 {
			layer, first := rng.IntN(len(f.bundles)), rng.IntN(ffn)
			dst := make([][]byte, 1+rng.IntN(ffn-first))
			for i, slot := range rng.Perm(ffn)[:len(dst)] {
				dst[i] = slots.Bundle(int32(slot))
			}
			before := s.BytesRead()
			if err := s.ReadBundles(layer, first, dst); err != nil {
				t.Fatal(err)
			}
			for i := range dst {
				if !bytes.Equal(dst[i], f.bundles[layer][first+i]) {
					t.Fatalf("layer %d: neuron %d of %d from %d: got other bytes than the pack's", layer, first+i, len(dst), first)
				}
			}
			if got, want := s.BytesRead()-before, size(dst); got != want {
				t.Errorf("%d bundles: got %d bytes read, want %d", len(dst), got, want)
			}
		}
		if s.Reads() != 60 {
			t.Errorf("got %d reads, want 60", s.Reads())
		}
		buf := f.buffer(t)
		for _, x := range f.Tensors() {
			want := f.tensors[x.Name]
			for range 5 {
				row := rng.IntN(x.Rows)
				got, err := s.ReadRow(x, row, buf)
				if err != nil || !bytes.Equal(got, want[int64(row)*x.RowBytes:][:x.RowBytes]) {
					t.Fatalf("row %d of %s: got %d other bytes, %v", row, x.Name, len(got), err)
				}
			}
			got := make([]byte, x.Bytes())
			if err := readTensor(s, x, got, buf); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: got other bytes, %v", x.Name, err)
			}
		}
	})
}

// readTensor reads all of x into dst, block by block.
func readTensor(s *DiskWeightStore, x pack.Tensor, dst, buf []byte) error {
	for b := range x.Blocks() {
		data, err := s.ReadBlock(x, b, buf)
		if err != nil {
			return err
		}
		row, _ := x.Block(b)
		copy(dst[int64(row)*x.RowBytes:], data)
	}
	return nil
}

// Damage is found by the first read, in an error that says where it is. Later
// reads are not checked: the same damage, done after a read, goes unseen.
func TestStoreDamage(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		s := f.store(t, file)
		dst := [][]byte{f.slots(t, 1).Bundle(0)}
		buf := f.buffer(t)
		head, _ := f.Tensor("head")
		row, rows := head.Block(1)
		wantDamage := func(err error, part string, off int64) {
			t.Helper()
			var d *pack.DamageError
			if !errors.As(err, &d) || d.Path != f.Path() || d.Part != part || d.Offset != off {
				t.Errorf("got %v, want damage of %s at %d of %s", err, part, off, f.Path())
			}
			wantIn(t, err, "disk: ", f.Path(), part, off)
		}
		for layer := range 2 { // says nothing about another layer's neuron
			if err := s.ReadBundles(layer, 5, dst); err != nil {
				t.Fatal(err)
			}
		}
		at := f.BundleOffset(2, 5)
		f.damage(t, at+7)
		for range 2 {
			wantDamage(s.ReadBundles(2, 5, dst), "layers.2.mlp.bundles, neuron 5", at)
		}
		f.damage(t, at+7) // undone
		if err := s.ReadBundles(2, 5, dst); err != nil {
			t.Fatal(err)
		}
		f.damage(t, at+7)
		if err := s.ReadBundles(2, 5, dst); err != nil || dst[0][7] != f.bundles[2][5][7]^0x40 {
			t.Errorf("second read: got %v, want the damaged byte, unchecked", err)
		}

		at = head.Offset + int64(row)*head.RowBytes
		part := fmt.Sprintf("head, rows %d to %d", row, row+rows-1)
		f.damage(t, at)
		_, err := s.ReadRow(head, head.Rows-1, buf) // another row of the block
		wantDamage(err, part, at)
		_, err = s.ReadBlock(head, 1, buf)
		wantDamage(err, part, at)
		wantDamage(readTensor(s, head, make([]byte, head.Bytes()), buf), part, at)
		f.damage(t, at)
		if _, err := s.ReadRow(head, head.Rows-1, buf); err != nil {
			t.Fatal(err)
		}
		f.damage(t, at)
		before := s.BytesRead()
		got, err := s.ReadRow(head, row, buf)
		if err != nil || got[0] != f.tensors["head"][int64(row)*head.RowBytes]^0x40 {
			t.Errorf("second read: got %v, want the damaged byte, unchecked", err)
		}
		if n := s.BytesRead() - before; n > head.RowBytes+2*file.Align() {
			t.Errorf("a row of a checked block: got %d bytes read, want a row of %d", n, head.RowBytes)
		}
	})
}

// A read that fails is tried once more.
func TestStoreRetries(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		faulty := &faultyFile{File: file, err: syscall.EIO, fail: make(map[int64]int)}
		s := f.store(t, faulty)
		slots, buf := f.slots(t, 4), f.buffer(t)
		dst := [][]byte{slots.Bundle(0), slots.Bundle(1), slots.Bundle(2), slots.Bundle(3)}
		head, _ := f.Tensor("head")
		for _, read := range []struct {
			what string
			at   int64
			do   func() error
		}{
			{"neurons 10 to 13 of layer 1", f.BundleOffset(1, 10), func() error { return s.ReadBundles(1, 10, dst) }},
			{"rows 0 to 1637 of head", head.Offset, func() error { _, err := s.ReadBlock(head, 0, buf); return err }},
			{"row 20 of head", head.Offset + 20*head.RowBytes, func() error { _, err := s.ReadRow(head, 20, buf); return err }},
		} {
			faulty.fail[read.at] = 1
			if err := read.do(); err != nil {
				t.Errorf("%s, failing once: %v", read.what, err)
			}
			faulty.fail[read.at] = 2
			err := read.do()
			wantIn(t, err, "disk: ", read.what, f.Path(), read.at/file.Align()*file.Align(), "input/output error")
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("got %v, want %v to be its cause", err, syscall.EIO)
			}
			if err := read.do(); err != nil || faulty.fail[read.at] != 0 {
				t.Errorf("%s, after failing twice: %v, %d faults left", read.what, err, faulty.fail[read.at])
			}
		}
		for i, b := range dst {
			if !bytes.Equal(b, f.bundles[1][10+i]) {
				t.Errorf("neuron %d: got other bytes than the pack's", 10+i)
			}
		}
	})
}

func TestCheckUnchanged(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		s := f.store(t, file)
		now := time.Now()
		for _, change := range []struct {
			what string
			do   func() error
			fine bool
		}{
			{"nothing", func() error { return nil }, true},
			{"a read", func() error { return s.ReadBundles(0, 0, [][]byte{f.slots(t, 1).Bundle(0)}) }, true},
			{"a new file under the name", func() error {
				b, err := os.ReadFile(f.Path())
				return errors.Join(err, os.WriteFile(f.Path()+".new", b[:100], 0o666), os.Rename(f.Path(), f.Path()+".old"), os.Rename(f.Path()+".new", f.Path()))
			}, true},
			{"a write", func() error { return os.Chtimes(f.Path()+".old", now, now.Add(time.Second)) }, false},
			{"a new size", func() error { return os.Truncate(f.Path()+".old", f.Size()+1) }, false},
		} {
			if err := change.do(); err != nil {
				t.Fatal(err)
			}
			err := s.CheckUnchanged()
			if change.fine && err != nil {
				t.Errorf("%s: %v", change.what, err)
			} else if !change.fine {
				wantIn(t, err, "disk: ", f.Path(), "changed")
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantIn(t, s.CheckUnchanged(), "disk: stat", f.Path())
	})
}

// coarse reads at multiples of 4096 only.
type coarse struct{ File }

func (coarse) Align() int64 { return 4096 }

// A file that is not the pack's, or reads at other offsets, is refused.
func TestNewStoreRefuses(t *testing.T) {
	f := makePack(t, 512)
	_, err := NewDiskWeightStore(f.Pack, coarse{f.mapped(t)})
	wantIn(t, err, "disk: open", f.Path(), "4096", "1536")
	if err := os.Truncate(f.Path(), f.Size()-1); err != nil {
		t.Fatal(err)
	}
	file, err := OpenFile(f.Pack, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewDiskWeightStore(f.Pack, file)
	wantIn(t, err, "disk: open", f.Path(), f.Size()-1, f.Size())
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = NewDiskWeightStore(f.Pack, file)
	wantIn(t, err, "disk: open", f.Path())
}

// Several goroutines read one store at once.
func TestStoreShared(t *testing.T) {
	f := makePack(t, 0)
	file, err := OpenFile(f.Pack, "")
	if err != nil {
		t.Fatal(err)
	}
	s := f.store(t, file)
	var wg sync.WaitGroup
	for range 4 {
		dst, buf := [][]byte{f.slots(t, 1).Bundle(0)}, f.buffer(t)
		wg.Go(func() {
			for i := range f.Profile().FFN {
				if err := s.ReadBundles(i%3, i, dst); err != nil || !bytes.Equal(dst[0], f.bundles[i%3][i]) {
					t.Errorf("neuron %d: %v or other bytes", i, err)
				}
			}
			for _, x := range f.matrices() {
				if got, err := s.ReadRow(x, 1, buf); err != nil || !bytes.Equal(got, f.tensors[x.Name][x.RowBytes:2*x.RowBytes]) {
					t.Errorf("%s: %v or other bytes", x.Name, err)
				}
			}
		})
	}
	wg.Wait()
}
