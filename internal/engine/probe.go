package engine

import "time"

// Reads is the weights that some steps of decoding read, in their order.
type Reads struct{ ops []read }

// Record begins to note what the backend reads, and Recorded ends that. No
// request may be running at either.
func (e *Engine) Record() { e.backend.ops, e.backend.record = nil, true }

// Recorded is what the last steps of decoding read since Record. Neurons are
// told by their slots, so that what is in a slot may change before Load; what
// is read through buffers (Placement.Streamed) means nothing afterwards.
func (e *Engine) Recorded(steps int) Reads {
	ops := e.backend.ops
	e.backend.ops, e.backend.record = nil, false
	// A step ends with the head.
	from := len(ops)
	for ; from > 0; from-- {
		if e.isHead(ops[from-1]) {
			if steps == 0 {
				break
			}
			steps--
		}
	}
	return Reads{ops[from:]}
}

func (e *Engine) isHead(r read) bool {
	head := e.model.Weights.Head.Data
	return len(head) > 0 && len(r.rows) > 0 && &r.rows[0] == &head[0]
}

// Load reads from memory what r did, operation by operation, each split between
// the same threads in the same runs of memory, and computes nothing: the time
// that no step over the same bytes can beat. No request may be running.
func (e *Engine) Load(r Reads) (bytes int64, took time.Duration) {
	begin := time.Now()
	for i := range r.ops {
		switch op := &r.ops[i]; {
		case op.rows != nil:
			e.backend.LoadRows(op.rows, op.rowBytes)
		case op.down:
			e.backend.LoadDown(op.memory, op.slots)
		default:
			e.backend.LoadUp(op.memory, op.slots)
		}
	}
	took = time.Since(begin)
	for i := range r.ops {
		bytes += r.ops[i].bytes()
	}
	return bytes, took
}
