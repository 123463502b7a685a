package sidecar

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// MaxBytes is the largest file that is read or written: more than low-rank
// predictors of the largest OPT take (12 GB), and what a 32-bit system can
// address at most.
const MaxBytes int64 = min(16<<30, math.MaxInt)

// A Section is what one writer has learned.
type Section struct {
	JSON    json.RawMessage // any JSON value; none is stored as null
	Tensors map[string]Tensor
}

// A Tensor is a named array of a section. It is not copied with its Section:
// whoever shares one leaves Data as it is.
type Tensor struct {
	DType string  // as safetensors names it: F32, U32, F16 or U8
	Shape []int64 // row-major, outermost first; empty for a scalar
	Data  []byte  // little-endian
}

// A Sidecar holds the sections learned about one checkpoint. It never changes
// and may be used from many goroutines.
type Sidecar struct {
	source   string // SHA-256 of the checkpoint, in hexadecimal
	sections map[string]Section
}

// A MismatchError is a sidecar that was learned from other weights.
type MismatchError struct {
	Path string
	Got  string // SHA-256 of the checkpoint that the sidecar is of
	Want string // that of the checkpoint it was opened for
}

// Error names the file, both checkpoints and the way out.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("sidecar: open %s: got what was learned about the checkpoint with SHA-256 %s, want %s; move the file away and profile and train this model anew",
		e.Path, e.Got, e.Want)
}

// New returns a sidecar without sections for the checkpoint with the given
// SHA-256, in lower-case hexadecimal.
func New(sourceSHA256 string) *Sidecar {
	return &Sidecar{source: sourceSHA256, sections: map[string]Section{}}
}

// Names lists the sections, sorted.
func (s *Sidecar) Names() []string { return slices.Sorted(maps.Keys(s.sections)) }

// Section returns the section called name, if there is one. The caller may
// change all of it but the tensors' Data.
func (s *Sidecar) Section(name string) (Section, bool) {
	sec, ok := s.sections[name]
	if !ok {
		return Section{}, false
	}
	return sec.clone(), true
}

// With returns a copy of the sidecar with the section called name added or
// replaced. A name is not empty and has no slash; whether it and the section
// can be stored is checked by [Update].
func (s *Sidecar) With(name string, sec Section) *Sidecar {
	next := &Sidecar{source: s.source, sections: maps.Clone(s.sections)}
	next.sections[name] = sec.clone()
	return next
}

// Without returns a copy of the sidecar that lacks the section called name.
func (s *Sidecar) Without(name string) *Sidecar {
	next := &Sidecar{source: s.source, sections: maps.Clone(s.sections)}
	delete(next.sections, name)
	return next
}

// over returns a copy of the sidecar with those sections of below that it
// lacks.
func (s *Sidecar) over(below *Sidecar) *Sidecar {
	both := &Sidecar{source: s.source, sections: maps.Clone(below.sections)}
	maps.Copy(both.sections, s.sections)
	return both
}

// clone copies all but the tensors' data.
func (s Section) clone() Section {
	c := Section{JSON: slices.Clone(s.JSON), Tensors: make(map[string]Tensor, len(s.Tensors))}
	if len(c.JSON) == 0 {
		c.JSON = json.RawMessage("null")
	}
	for name, t := range s.Tensors {
		t.Shape = slices.Clone(t.Shape)
		c.Tensors[name] = t
	}
	return c
}
