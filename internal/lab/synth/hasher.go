package synth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
)

// hasher hashes a source as convert.SourceHash hashes a directory, each layer
// while it is in memory.
type hasher struct {
	s      *drawnDir
	sum    hash.Hash
	file   int // at which it is
	tensor int // the next one in it; -1: its beginning is next
}

func newHasher(s *drawnDir) *hasher { return &hasher{s: s, sum: sha256.New(), tensor: -1} }

// finish hashes what is left and returns the sum, in hexadecimal.
func (h *hasher) finish() (string, error) {
	if err := h.through(math.MaxInt); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.sum.Sum(nil)), nil
}

// through hashes up to the end of a layer.
func (h *hasher) through(layer int) error {
	buf := make([]byte, 1<<20)
	for ; h.file < len(h.s.files); h.file, h.tensor = h.file+1, -1 {
		f := h.s.files[h.file]
		if h.tensor < 0 {
			fmt.Fprintf(h.sum, "%s\x00%d\x00", f.name, f.bytes)
			h.sum.Write(f.head)
			h.tensor = 0
		}
		for ; h.tensor < len(f.tensors); h.tensor++ {
			t := f.tensors[h.tensor]
			if t.layer > layer {
				return nil
			}
			for off := int64(0); off < t.bytes(); off += int64(len(buf)) {
				if err := h.s.ctx.Err(); err != nil {
					return err
				}
				p := buf[:min(int64(len(buf)), t.bytes()-off)]
				h.s.fill(t.stored, p, off)
				h.sum.Write(p)
			}
		}
	}
	return nil
}
