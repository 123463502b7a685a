package disk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/pack"

	"github.com/sparseflow/sparseflow/internal/memory"
)

// asked is a read and what it must bring.
type asked struct {
	*Read
	layer, first int
	slots        []int32 // of bundles; -1: of no use
	tensor       pack.Tensor
	block        int
	got          *[]byte
}

// ask starts a random read of bundles, some of them of no use, into free
// slots, or of a block.
func (f *fixture) ask(t *testing.T, a *AsyncWeightTransfer, rng *rand.Rand, s *slotPool, gap []byte) *asked {
	if rng.IntN(8) == 0 {
		ms := f.matrices()
		r := &asked{tensor: ms[rng.IntN(len(ms))], got: new([]byte)}
		r.block = rng.IntN(r.tensor.Blocks())
		r.Read = a.StartBlock(r.tensor, r.block, f.buffer(t), r.got)
		return r
	}
	ffn := f.Profile().FFN
	r := &asked{layer: rng.IntN(len(f.bundles)), first: rng.IntN(ffn)}
	n := 1 + rng.IntN(min(ffn-r.first, len(s.free)))
	for i := range n {
		if i > 0 && i < n-1 && rng.IntN(3) == 0 {
			r.slots = append(r.slots, -1)
			continue
		}
		last := len(s.free) - 1
		r.slots = append(r.slots, s.free[last])
		s.free = s.free[:last]
	}
	r.Read = a.StartBundles(r.layer, r.first, r.slots, s.Slots, gap)
	return r
}

// check fails unless the bytes are the pack's.
func (r *asked) check(t *testing.T, f *fixture, s *slotPool) {
	t.Helper()
	if r.slots == nil {
		if !bytes.Equal(*r.got, f.block(r.tensor, r.block)) {
			t.Fatalf("block %d of %s: got other rows", r.block, r.tensor.Name)
		}
		return
	}
	for i, slot := range r.slots {
		if slot >= 0 && !bytes.Equal(s.Bundle(slot), f.bundles[r.layer][r.first+i]) {
			t.Fatalf("neuron %d of layer %d, the %d. of %v: got other bytes", r.first+i, r.layer, i, r.slots)
		}
	}
}

// Whatever does the reads, and whether they come short, late or not at all the
// first time: each brings its bytes and no other's, in any order of waiting.
// One that fails twice ends with an error of its own, and the same read
// succeeds when the fault is gone.
func TestAsyncReads(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		rng := rand.New(rand.NewPCG(3, 1))
		fs := &faults{}
		st := f.store(t, withFaults(file, fs))
		a := NewAsyncWeightTransfer(st, workers)
		defer a.Close()
		gap := newMemory(t, 2*memory.PageAlign).Buffer(memory.PageAlign)
		for round := range 60 {
			s := newSlotPool(t, f, 120)
			failed := make(map[int64]bool) // by the end, which a read keeps
			luck := rand.New(rand.NewPCG(5, uint64(round)))
			fs.next = func(off, end int64) fault {
				switch {
				case round < 10:
					return fine
				case round < 40: // one in a few fails once
					if !failed[end] && luck.IntN(4) == 0 {
						failed[end] = true
						return broken
					}
				case luck.IntN(4) == 0:
					return broken
				}
				return []fault{fine, fine, short, slow}[luck.IntN(4)]
			}
			var reads []*asked
			for len(s.free) > 40 && len(reads) < 20 {
				reads = append(reads, f.ask(t, a, rng, s, gap))
				if rng.IntN(3) == 0 {
					a.Submit()
				}
			}
			for _, i := range rng.Perm(len(reads)) {
				r := reads[i]
				for rng.IntN(4) == 0 && !r.Done() {
				}
				err := r.Wait()
				if again := r.Wait(); again != err || !r.Done() {
					t.Fatalf("a second Wait: got %v, done %v, want %v again", again, r.Done(), err)
				}
				if err == nil {
					r.check(t, f, s)
					continue
				}
				if round < 40 || !errors.Is(err, syscall.EIO) {
					t.Fatalf("round %d: %v", round, err)
				}
				wantIn(t, err, "disk: ", f.Path(), "offset")
			}
		}
	})
}

// slotPool is slots of which none is used twice.
type slotPool struct {
	device.Slots
	free []int32
}

func newSlotPool(t *testing.T, f *fixture, n int) *slotPool {
	s := &slotPool{Slots: f.slots(t, n)}
	for i := range n {
		s.free = append(s.free, int32(i))
	}
	return s
}

// Reads that nobody waits for are over when Close returns.
func TestAsyncClose(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		if workers == 0 {
			return
		}
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		s := newSlotPool(t, f, 1000)
		rng := rand.New(rand.NewPCG(3, 2))
		var reads []*asked
		for len(s.free) > 40 {
			reads = append(reads, f.ask(t, a, rng, s, s.Bundle(0)))
		}
		a.Close()
		for _, r := range reads {
			if !r.ended.Load() {
				t.Fatal("a read is under way after Close")
			}
		}
	})
}

// Several goroutines share a transfer.
func TestAsyncShared(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		defer a.Close()
		var wg sync.WaitGroup
		for g := range 4 {
			s, gap := newSlotPool(t, f, 400), newMemory(t, 2*memory.PageAlign).Buffer(memory.PageAlign)
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(4, uint64(g)))
				var reads []*asked
				for len(s.free) > 40 {
					r := &asked{layer: rng.IntN(3), first: rng.IntN(38), slots: []int32{s.free[0], -1, s.free[1]}}
					s.free = s.free[2:]
					r.Read = a.StartBundles(r.layer, r.first, r.slots, s.Slots, gap)
					reads = append(reads, r)
				}
				for _, r := range reads {
					if err := r.Wait(); err != nil {
						t.Error(err)
						return
					}
					r.check(t, f, s)
				}
			})
		}
		wg.Wait()
	})
}

// A file that ends early is an error that names it, not an endless wait.
func TestAsyncEnd(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		defer a.Close()
		s := newSlotPool(t, f, 4)
		for _, cutAt := range []int64{f.BundleOffset(2, 30), f.BundleOffset(2, 30) + 100} {
			if err := os.Truncate(f.Path(), cutAt); err != nil {
				t.Fatal(err)
			}
			err := a.StartBundles(2, 29, []int32{0, 1}, s.Slots, nil).Wait()
			wantIn(t, err, "disk: neurons 29 to 30 of layer 2", f.Path())
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
			if err := a.StartBundles(2, 28, []int32{0}, s.Slots, nil).Wait(); err != nil {
				t.Errorf("what is left of the file: %v", err)
			}
		}
	})
}

// Damage is found by the first read, but not where it is of no use.
func TestAsyncDamage(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		defer a.Close()
		s := newSlotPool(t, f, 4)
		f.damage(t, f.BundleOffset(1, 5)+9)
		if err := a.StartBundles(1, 4, []int32{0, -1, 1}, s.Slots, s.Bundle(3)).Wait(); err != nil {
			t.Errorf("damage of a neuron between: %v", err)
		}
		err := a.StartBundles(1, 4, []int32{0, 1, 2}, s.Slots, nil).Wait()
		wantIn(t, err, f.Path(), "neuron 5")
		if !slices.Equal(s.Bundle(0), f.bundles[1][4]) {
			t.Error("its neighbour: got other bytes")
		}
	})
}

// What lies between and cannot be read does no harm to what is wanted.
func TestAsyncGapFails(t *testing.T) {
	eachQueue(t, func(t *testing.T, f *fixture, file File, workers int) {
		fs := &faults{}
		bad := f.BundleOffset(1, 6)
		fs.next = func(off, end int64) fault {
			if off <= bad && bad < end {
				return broken
			}
			return fine
		}
		a := NewAsyncWeightTransfer(f.store(t, withFaults(file, fs)), workers)
		defer a.Close()
		s := f.slots(t, 4)
		r := asked{layer: 1, first: 5, slots: []int32{0, -1, -1, 1}}
		r.Read = a.StartBundles(r.layer, r.first, r.slots, s, s.Bundle(3))
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		r.check(t, f, &slotPool{Slots: s})
		wantIn(t, a.StartBundles(1, 5, []int32{0, 1, -1, 2}, s, s.Bundle(3)).Wait(), "neurons 6 to 6 of layer 1")
	})
}
