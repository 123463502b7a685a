package disk

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/pack"
)

// BlockReader streams matrices that are not resident: blocks of rows, in the
// order in which their matrices were queued, read ahead as far as there are
// buffers. A layer queues what it will need before it computes, so that one
// matrix's first blocks arrive while the one before is multiplied.
type BlockReader struct {
	transfer *AsyncWeightTransfer
	buffers  [][]byte
	rows     [][]byte      // what each buffer's read brought
	queued   []pack.Tensor // matrices with blocks not yet started
	next     int           // block of queued[0] to start next
	started  []startedBlock
	using    int // buffer of the block handed out last, -1 for none
	idle     []int
}

type startedBlock struct {
	tensor pack.Tensor
	block  int
	buffer int
	read   *Read
}

// StreamBuffers is how many blocks a BlockReader holds at least: one in use, the
// others on their way.
const StreamBuffers = 3

// NewBlockReader makes a reader over buffers, each page aligned and as large
// as BlockBuffer says for the largest matrix it will see.
func NewBlockReader(a *AsyncWeightTransfer, buffers [][]byte) *BlockReader {
	r := &BlockReader{transfer: a, buffers: buffers, rows: make([][]byte, len(buffers)), using: -1}
	for i := range buffers {
		r.idle = append(r.idle, i)
	}
	return r
}

// Queue adds all blocks of t to what is to come.
func (r *BlockReader) Queue(t pack.Tensor) {
	r.queued = append(r.queued, t)
	r.fill()
}

// Block waits for the next block, which must be block b of t, and returns its
// rows. They are valid until the next call.
func (r *BlockReader) Block(t pack.Tensor, b int) ([]byte, error) {
	if r.using >= 0 {
		r.idle = append(r.idle, r.using)
		r.using = -1
		r.fill()
	}
	if len(r.started) == 0 || r.started[0].tensor.Name != t.Name || r.started[0].block != b {
		return nil, fmt.Errorf("disk: stream block %d of %s: it was not queued next", b, t.Name)
	}
	s := r.started[0]
	r.started = append(r.started[:0], r.started[1:]...)
	r.using = s.buffer
	err := s.read.Wait()
	s.read.Release()
	if err != nil {
		return nil, err
	}
	return r.rows[s.buffer], nil
}

// Reset drops everything queued, after an error, and waits for what was on
// its way.
func (r *BlockReader) Reset() {
	for _, s := range r.started {
		if r.transfer.Async() {
			_ = s.read.Wait() // its error came too late to matter
		}
		s.read.Release()
		r.idle = append(r.idle, s.buffer)
	}
	if r.using >= 0 {
		r.idle = append(r.idle, r.using)
	}
	r.started, r.queued, r.next, r.using = r.started[:0], r.queued[:0], 0, -1
}

// fill starts reads while there are idle buffers and queued blocks.
func (r *BlockReader) fill() {
	for len(r.idle) > 0 && len(r.queued) > 0 {
		t := r.queued[0]
		last := len(r.idle) - 1
		s := startedBlock{tensor: t, block: r.next, buffer: r.idle[last]}
		r.idle = r.idle[:last]
		s.read = r.transfer.StartBlock(t, s.block, r.buffers[s.buffer], &r.rows[s.buffer])
		r.started = append(r.started, s)
		if r.next++; r.next == t.Blocks() {
			r.queued, r.next = append(r.queued[:0], r.queued[1:]...), 0
		}
	}
	r.transfer.Submit()
}
