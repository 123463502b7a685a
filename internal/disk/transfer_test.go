package disk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Reads beside the computation and reads when they are waited for bring the
// same bytes.
func TestTransfer(t *testing.T) {
	f := makePack(t, 0)
	slots := f.slots(t, 100)
	for _, workers := range []int{0, 1, 4} {
		file := f.mapped(t)
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		if got, want := a.Async(), workers > 0; got != want {
			t.Errorf("%d workers: got async %v", workers, got)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		type started struct {
			layer, first int
			slots        []int32
			read         *Read
		}
		var reads []started
		for perm := rng.Perm(100); len(perm) > 0; {
			n := min(1+rng.IntN(10), len(perm))
			s := started{layer: rng.IntN(3), first: rng.IntN(31)}
			for _, slot := range perm[:n] {
				s.slots = append(s.slots, int32(slot))
			}
			perm = perm[n:]
			s.read = a.StartBundles(s.layer, s.first, s.slots, slots, nil)
			reads = append(reads, s)
		}
		if workers == 0 && (len(file.offsets) > 0 || reads[0].read.Done()) {
			t.Error("without workers: got a read before somebody waited for it")
		}
		for _, i := range rng.Perm(len(reads)) {
			s := reads[i]
			for range 2 {
				if err := s.read.Wait(); err != nil || !s.read.Done() {
					t.Fatalf("%v: error %v, done %v", s, err, s.read.Done())
				}
			}
			for j, slot := range s.slots {
				if !bytes.Equal(slots.Bundle(slot), f.bundles[s.layer][s.first+j]) {
					t.Fatalf("%d workers: neuron %d of layer %d: got other bytes", workers, s.first+j, s.layer)
				}
			}
		}
		a.Close()
	}
}

// A read's error is its own.
func TestTransferErrors(t *testing.T) {
	f := makePack(t, 0)
	slots := f.slots(t, 3)
	head, _ := f.Tensor("head")
	for _, workers := range []int{0, 2} {
		file := f.mapped(t)
		file.err = syscall.EIO
		a := NewAsyncWeightTransfer(f.store(t, file), workers)
		file.fail[f.BundleOffset(1, 6)] = 2
		file.fail[head.Offset] = 2
		var block []byte
		fine := a.StartBundles(1, 4, []int32{0, 1}, slots, nil)
		bad := a.StartBundles(1, 6, []int32{2}, slots, nil)
		badBlock := a.StartBlock(head, 0, f.buffer(t), &block)
		for range 2 {
			wantIn(t, bad.Wait(), "neurons 6 to 6 of layer 1", f.Path())
			wantIn(t, badBlock.Wait(), "of head", f.Path())
		}
		if err := fine.Wait(); err != nil || !bytes.Equal(slots.Bundle(1), f.bundles[1][5]) {
			t.Errorf("a read beside one that failed: %v", err)
		}
		if err := a.StartBundles(1, 6, []int32{2}, slots, nil).Wait(); err != nil {
			t.Errorf("after the error: %v", err)
		}
		a.Close()
	}
}

// Reads start in the order they are asked for, however many there are.
func TestTransferOrder(t *testing.T) {
	f := makePack(t, 0)
	file := f.mapped(t)
	a := NewAsyncWeightTransfer(f.store(t, file), 1)
	const n = 4500
	slots := f.slots(t, n)
	var reads []*Read
	var want []int64
	for i := range n {
		layer, neuron := i%3, i%f.Profile().FFN
		want = append(want, f.BundleOffset(layer, neuron))
		reads = append(reads, a.StartBundles(layer, neuron, []int32{int32(i)}, slots, nil))
	}
	for _, r := range reads {
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	if !slices.Equal(file.offsets, want) {
		t.Error("the reads came in another order")
	}
}

// After Close no read runs: the memory that they write to may go.
func TestTransferClose(t *testing.T) {
	f := makePack(t, 0)
	file := f.mapped(t)
	file.pause = 2 * time.Millisecond
	a := NewAsyncWeightTransfer(f.store(t, file), 3)
	slots := f.slots(t, 12)
	var reads []*Read
	for i := range int32(12) {
		reads = append(reads, a.StartBundles(0, int(i), []int32{i}, slots, nil))
	}
	a.Close()
	if n := file.busy(); n != 0 {
		t.Errorf("got %d reads running, want none", n)
	}
	for i, r := range reads {
		if !r.Done() || r.Wait() != nil {
			t.Errorf("read %d: done %v, error %v", i, r.Done(), r.Wait())
		}
	}
}
