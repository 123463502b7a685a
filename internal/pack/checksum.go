package pack

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A DamageError is a part of a pack whose bytes are not those written.
type DamageError struct {
	Path   string
	Part   string // what is damaged: a tensor's name and rows, a bundle
	Offset int64  // of the damaged part in the file
	Bytes  int64  // its size
	Detail string // what was found and what was expected
}

// Error names the file, the part and the way out.
func (e *DamageError) Error() string {
	return fmt.Sprintf("pack: %s: damaged at %s (%d bytes from offset %d): %s; pack the model again",
		e.Path, e.Part, e.Bytes, e.Offset, e.Detail)
}

// checksum is the CRC-32C (Castagnoli) that every part is stored with. MakeTable
// returns a shared table and is cheap after the first call.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func putTable(crcs []uint32) []byte {
	b := make([]byte, 4*len(crcs))
	for i, c := range crcs {
		binary.LittleEndian.PutUint32(b[4*i:], c)
	}
	return b
}

func parseTable(b []byte) []uint32 {
	crcs := make([]uint32, len(b)/4)
	for i := range crcs {
		crcs[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return crcs
}

// check compares a part with its checksum.
func check(path, part string, offset int64, b []byte, want uint32) error {
	if got := checksum(b); got != want {
		return &DamageError{Path: path, Part: part, Offset: offset, Bytes: int64(len(b)), Detail: differs(got, want)}
	}
	return nil
}

func differs(got, want uint32) string { return fmt.Sprintf("got CRC-32C %08x, want %08x", got, want) }
