//go:build !unix

package disk

import "errors"

func openMapped(string) (File, error) {
	return nil, errors.New("disk: io: got mmap, want direct: this system has no mmap")
}
