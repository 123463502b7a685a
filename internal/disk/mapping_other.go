//go:build !unix

package disk

import (
	"errors"
	"io/fs"
)

// Mapping is a file in memory, which this system does not have.
type Mapping struct {
	Data []byte // the whole file, read-only
}

var errNoMapping = errors.New("disk: map: got a system without mappings, want a Unix")

// OpenMapping is an error.
func OpenMapping(string) (*Mapping, error) { return nil, errNoMapping }

// Stat is an error.
func (*Mapping) Stat() (fs.FileInfo, error) { return nil, errNoMapping }

// Close does nothing.
func (*Mapping) Close() error { return nil }
