package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxDirectoryBytes bounds a zip directory: room for some 160 000 storages.
const maxDirectoryBytes = 16 << 20

// Sizes of the fixed zip records (PKWARE's APPNOTE.TXT, 4.3.12 to 4.3.16).
const (
	zipEndBytes     = 22
	zipLocatorBytes = 20
	zipEnd64Bytes   = 56
	zipEntryBytes   = 46 // at least
)

// checkZip holds the ends of a file to what torch.save writes, before
// archive/zip sizes its tables by them.
func checkZip(r io.ReaderAt, size int64) error {
	if size < zipEndBytes {
		return fmt.Errorf("got a file of %d bytes, want a zip file written by torch.save", size)
	}
	if err := checkZipStart(r); err != nil {
		return err
	}
	end, err := readZipEnd(r, size)
	if err != nil {
		return err
	}
	if end.dirBytes > maxDirectoryBytes || end.records > end.dirBytes/zipEntryBytes {
		return fmt.Errorf("got a zip directory of %d entries in %d bytes, want at most %d bytes and at least %d an entry",
			end.records, end.dirBytes, maxDirectoryBytes, zipEntryBytes)
	}
	// archive/zip would tolerate other bytes in between, and read on in them.
	// torch.save writes a zip64 record and its locator even if end.at needs none.
	const spare = zipEnd64Bytes + zipLocatorBytes
	start := end.at - int64(end.dirBytes)
	if off := int64(end.dirOffset); off < 0 || off != start && off != start-spare {
		return fmt.Errorf("got a zip directory of %d bytes at offset %d, want it to end at %d: is the file cut short?",
			end.dirBytes, end.dirOffset, end.at)
	}
	return nil
}

func checkZipStart(r io.ReaderAt) error {
	var start [4]byte
	if err := ReadFull(r, start[:], 0); err != nil {
		return err
	}
	if !bytes.HasPrefix(start[:], []byte("PK\x03\x04")) {
		return fmt.Errorf("got a file starting with %q, want a zip file written by torch.save", start[:])
	}
	return nil
}

// A zipEnd is what the end record says of the directory, unchecked.
type zipEnd struct {
	records   uint64
	dirBytes  uint64
	dirOffset uint64
	at        int64 // of the end record itself, in its zip64 form if that counts
}

// readZipEnd reads the end record, which must be the very end: a comment, which
// torch.save never writes, could hide a second one.
func readZipEnd(r io.ReaderAt, size int64) (zipEnd, error) {
	var p [zipEndBytes]byte
	at := size - zipEndBytes
	if err := ReadFull(r, p[:], at); err != nil {
		return zipEnd{}, err
	}
	if !bytes.HasPrefix(p[:], []byte("PK\x05\x06")) || binary.LittleEndian.Uint16(p[20:]) != 0 {
		return zipEnd{}, errors.New("got no zip directory at the end of the file, want one: is the file cut short?")
	}
	end := zipEnd{
		records:   uint64(binary.LittleEndian.Uint16(p[10:])),
		dirBytes:  uint64(binary.LittleEndian.Uint32(p[12:])),
		dirOffset: uint64(binary.LittleEndian.Uint32(p[16:])),
		at:        at,
	}
	// archive/zip looks for a zip64 record under exactly these conditions (the
	// second one is odd), and what is checked must be what it will use.
	if end.records == 0xffff || end.dirBytes == 0xffff || end.dirOffset == 0xffffffff {
		return readZipEnd64(r, end)
	}
	return end, nil
}

// readZipEnd64 follows the locator in front of the end record, if there is one.
func readZipEnd64(r io.ReaderAt, end zipEnd) (zipEnd, error) {
	if end.at < zipLocatorBytes {
		return end, nil
	}
	var locator [zipLocatorBytes]byte
	if err := ReadFull(r, locator[:], end.at-zipLocatorBytes); err != nil {
		return zipEnd{}, err
	}
	if !bytes.HasPrefix(locator[:], []byte("PK\x06\x07")) {
		return end, nil
	}
	at := binary.LittleEndian.Uint64(locator[8:])
	disk, disks := binary.LittleEndian.Uint32(locator[4:]), binary.LittleEndian.Uint32(locator[16:])
	if disk != 0 || disks != 1 || int64(at) != end.at-zipLocatorBytes-zipEnd64Bytes || int64(at) < 0 {
		return zipEnd{}, fmt.Errorf("got a zip64 record at offset %d on disk %d of %d, want it on the only one, %d bytes before the end record at %d",
			at, disk, disks, zipLocatorBytes+zipEnd64Bytes, end.at)
	}
	var p [zipEnd64Bytes]byte
	if err := ReadFull(r, p[:], int64(at)); err != nil {
		return zipEnd{}, err
	}
	return zipEnd{
		records:   binary.LittleEndian.Uint64(p[32:]),
		dirBytes:  binary.LittleEndian.Uint64(p[40:]),
		dirOffset: binary.LittleEndian.Uint64(p[48:]),
		at:        int64(at),
	}, nil
}
