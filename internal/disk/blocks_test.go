package disk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// blockReader is a reader over any number of buffers, and what it reads by.
func (f *fixture) blockReader(t testing.TB, file File, buffers, workers int) (*BlockReader, *AsyncWeightTransfer) {
	t.Helper()
	bufs := make([][]byte, buffers)
	for i := range bufs {
		bufs[i] = f.buffer(t)
	}
	a := NewAsyncWeightTransfer(f.store(t, file), workers)
	return NewBlockReader(a, bufs), a
}

// wholeOf checks that a reader has all its buffers.
func wholeOf(t testing.TB, r *BlockReader) {
	t.Helper()
	all := slices.Clone(r.idle)
	if r.using >= 0 {
		all = append(all, r.using)
	}
	for _, s := range r.started {
		all = append(all, s.buffer)
	}
	slices.Sort(all)
	for i := range r.buffers {
		if len(all) != len(r.buffers) || all[i] != i {
			t.Fatalf("buffers idle, in use and being filled: got %v, want each of %d once", all, len(r.buffers))
		}
	}
}

// Matrices queued in any pattern come block by block, in order, with any
// number of buffers. An error comes with its own block, and after Reset all is
// as if nothing had been queued.
func TestBlockReader(t *testing.T) {
	f := makePack(t, 0)
	matrices := f.matrices()
	for _, workers := range []int{0, 3} {
		for _, buffers := range []int{1, 2, StreamBuffers, 5} {
			file := f.mapped(t)
			file.err = syscall.EIO
			r, a := f.blockReader(t, file, buffers, workers)
			rng := rand.New(rand.NewPCG(uint64(workers), uint64(buffers)))
			for range 25 {
				var queued []pack.Tensor
				fail := rng.IntN(3) == 0
				for len(queued) < 8 && (len(queued) == 0 || rng.IntN(5) > 0) {
					for range 1 + rng.IntN(3) {
						x := matrices[rng.IntN(len(matrices))]
						r.Queue(x)
						queued = append(queued, x)
					}
					x := queued[0]
					queued = queued[1:]
					if fail && rng.IntN(2) == 0 {
						failBlock(t, f, file, r, x)
						queued = nil
						break
					}
					nextBlocks(t, f, r, x)
				}
				for _, x := range queued {
					nextBlocks(t, f, r, x)
				}
				wholeOf(t, r)
			}
			a.Close()
		}
	}
}

// nextBlocks takes all blocks of x.
func nextBlocks(t *testing.T, f *fixture, r *BlockReader, x pack.Tensor) {
	t.Helper()
	for b := range x.Blocks() {
		got, err := r.Block(x, b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, f.block(x, b)) {
			t.Fatalf("block %d of %s: got other rows", b, x.Name)
		}
		wholeOf(t, r)
	}
}

// failBlock makes reads of x's last block fail from now on, takes its blocks
// up to the error, which does not come if that block was there before, and
// resets.
func failBlock(t *testing.T, f *fixture, file *faultyFile, r *BlockReader, x pack.Tensor) {
	t.Helper()
	row, _ := x.Block(x.Blocks() - 1)
	at := x.Offset + int64(row)*x.RowBytes
	file.mu.Lock()
	file.fail[at] = 1 << 30
	file.mu.Unlock()
	for b := range x.Blocks() {
		got, err := r.Block(x, b)
		if err != nil {
			if b != x.Blocks()-1 {
				t.Fatalf("block %d of %s: got %v, want an error of the last block alone", b, x.Name, err)
			}
			wantIn(t, err, x.Name, f.Path())
			break
		}
		if !bytes.Equal(got, f.block(x, b)) {
			t.Fatalf("block %d of %s: got other rows", b, x.Name)
		}
	}
	r.Reset()
	wholeOf(t, r)
	if len(r.idle) != len(r.buffers) || len(r.queued) != 0 || file.busy() != 0 {
		t.Fatalf("after Reset: got %d idle buffers of %d, %d matrices, %d reads", len(r.idle), len(r.buffers), len(r.queued), file.busy())
	}
	file.mu.Lock()
	delete(file.fail, at)
	file.mu.Unlock()
}

// A block that is not the next is a bug of the caller's, told as an error.
func TestBlockReaderOutOfOrder(t *testing.T) {
	f := makePack(t, 0)
	r, a := f.blockReader(t, f.mapped(t), StreamBuffers, 2)
	defer a.Close()
	head, _ := f.Tensor("head")
	embed, _ := f.Tensor("embed.tokens")
	_, err := r.Block(head, 0)
	wantIn(t, err, "disk: stream block 0 of head", "not queued")
	r.Queue(head)
	_, err = r.Block(head, 1)
	wantIn(t, err, "disk: stream block 1 of head")
	_, err = r.Block(embed, 0)
	wantIn(t, err, "disk: stream block 0 of embed.tokens")
	nextBlocks(t, f, r, head)
}

// Reads run ahead as far as there are buffers, no further; Reset waits for
// them, so that their buffers can be used again.
func TestBlockReaderAhead(t *testing.T) {
	f := makePack(t, 0)
	file := f.mapped(t)
	file.pause = time.Millisecond
	r, a := f.blockReader(t, file, StreamBuffers, StreamBuffers)
	defer a.Close()
	for range 3 {
		for _, x := range f.matrices()[:3] {
			r.Queue(x)
		}
		if len(r.started) != StreamBuffers {
			t.Errorf("got %d reads ahead, want %d", len(r.started), StreamBuffers)
		}
		r.Reset()
		if n := a.open.Load(); n != 0 {
			t.Errorf("Reset did not wait for %d reads", n)
		}
		if n := file.busy(); n != 0 {
			t.Errorf("got %d reads running after Reset, want none", n)
		}
	}
	if len(file.offsets) != 3*StreamBuffers {
		t.Errorf("got %d reads, want %d", len(file.offsets), 3*StreamBuffers)
	}
	// Without workers nothing has begun, so Reset has nothing to wait for.
	sync, b := f.blockReader(t, file, StreamBuffers, 0)
	defer b.Close()
	sync.Queue(f.matrices()[0])
	sync.Reset()
	if len(file.offsets) != 3*StreamBuffers {
		t.Error("Reset read without workers")
	}
	sync.Queue(f.matrices()[0])
	nextBlocks(t, f, sync, f.matrices()[0])
	// A matrix begun is begun anew.
	one, c := f.blockReader(t, file, 1, 0)
	defer c.Close()
	one.Queue(f.matrices()[0])
	one.Reset()
	one.Queue(f.matrices()[0])
	nextBlocks(t, f, one, f.matrices()[0])
}
