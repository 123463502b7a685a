//go:build !unix

package weights

import "errors"

func openMapped(string) (File, error) {
	return nil, errors.New("weights: io: got mmap, want direct: this system has no mmap")
}
