// Package reads loads from memory again what steps of decoding read there, and
// computes nothing: the time that no step over the same bytes can beat.
package reads

import (
	"slices"
	"time"

	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/internal/kernel"
)

// Recorder notes what an engine reads. The zero Recorder notes nothing until
// Begin. No request may be running when a method is called, but for Note.
type Recorder struct {
	on    bool
	reads []engine.Read
}

// Note is the Options.Reads of the engine.
func (r *Recorder) Note(read engine.Read) {
	if r.on {
		read.Slots = slices.Clone(read.Slots)
		r.reads = append(r.reads, read)
	}
}

// Begin begins to note, and End ends that.
func (r *Recorder) Begin() { r.on, r.reads = true, nil }

// End is what the last steps of decoding read since Begin. Neurons are told by
// their slots, so that what is in a slot may change before it is loaded. What is
// read through buffers (Placement.Streamed) means nothing afterwards.
func (r *Recorder) End(steps int) []engine.Read {
	all := r.reads
	r.on, r.reads = false, nil
	from := len(all)
	for ; from > 0; from-- {
		// A step ends with the head, and so does the last one.
		if same(all[from-1].Rows, all[len(all)-1].Rows) {
			if steps == 0 {
				break
			}
			steps--
		}
	}
	return all[from:]
}

// same reports whether two matrices are one.
func same(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }

// Loader loads on threads of its own.
type Loader struct{ backend *cpu.Backend }

// NewLoader is a Loader, to be closed.
func NewLoader(k kernel.Set, threads int) *Loader { return &Loader{cpu.New(k, threads)} }

// Close ends the threads.
func (l *Loader) Close() { l.backend.Close() }

// Load reads from memory what was read before, operation by operation, each
// split between the threads in the same runs of memory. The engine must be open.
func (l *Loader) Load(all []engine.Read) (bytes int64, took time.Duration) {
	begin := time.Now()
	for i := range all {
		switch r := &all[i]; {
		case r.Rows != nil:
			l.backend.LoadRows(r.Rows, r.RowBytes)
		case r.Part == r.Memory.Parts-1:
			l.backend.LoadDown(r.Memory, r.Slots)
		default:
			l.backend.LoadUp(r.Memory, r.Slots, r.Part)
		}
	}
	took = time.Since(begin)
	for i := range all {
		bytes += all[i].Bytes()
	}
	return bytes, took
}
