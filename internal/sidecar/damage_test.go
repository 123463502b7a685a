package sidecar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A change of any one bit is found and blamed on the file, never on another
// checkpoint.
func TestFlipEveryByte(t *testing.T) {
	t.Parallel()
	file := encode(t, small())
	for i := range 8 * len(file) {
		file[i/8] ^= 1 << (i % 8)
		_, err := decode(file)
		var mismatch *MismatchError
		if err == nil || !strings.Contains(err.Error(), "x.side") || errors.As(err, &mismatch) {
			t.Fatalf("bit %d of byte %d: got %v after a flip, want an error about damage that names the file", i%8, i/8, err)
		}
		file[i/8] ^= 1 << (i % 8)
	}
	if _, err := decode(file); err != nil {
		t.Error(err)
	}
}

// A file cut short anywhere is refused, and so is one with more at its end.
func TestTruncateEverywhere(t *testing.T) {
	t.Parallel()
	file := encode(t, small())
	for n := range file {
		if _, err := decode(file[:n]); err == nil || !strings.Contains(err.Error(), "x.side") {
			t.Fatalf("%d of %d bytes: got %v, want an error that names the file", n, len(file), err)
		}
		// Shorter than it was when its size was asked.
		if _, err := Read(bytes.NewReader(file[:n]), int64(len(file)), "x.side", testSource); err == nil {
			t.Fatalf("%d of %d bytes: got no error from a file that shrank", n, len(file))
		}
	}
	if _, err := decode(append(file, 0)); err == nil {
		t.Error("a byte more: got no error")
	}
}

// split is a file's header and its data without the checksum.
func split(file []byte) (header string, data []byte) {
	n := binary.LittleEndian.Uint64(file)
	return strings.TrimRight(string(file[8:8+n]), " "), file[8+n : len(file)-crcBytes]
}

// join makes a file of any header and data, with the right checksum.
func join(header string, data []byte) []byte {
	for len(header)%8 > 0 {
		header += " "
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	file = append(append(file, header...), data...)
	return binary.LittleEndian.AppendUint32(file, crc32.Checksum(file, crc32.MakeTable(crc32.Castagnoli)))
}

// hostile lists changes of small's header, and what the error must say.
func hostile() []struct{ old, new, want string } {
	return []struct{ old, new, want string }{
		{`sidecar.version":"1"`, `sidecar.version":"2"`, `want "1"`},
		{`sparseflow.sidecar.version`, `sparseflow.version`, "want a sidecar"},
		{`"sparseflow.source_sha256"`, `"sparseflow.source"`, "source hash"},
		{testSource, strings.Repeat("Z", 64), "source hash"},
		{testSource, "", "source hash"},
		{`"section.auto"`, `"x"`, "differently"},
		{`"section.auto"`, `"section."`, "not empty"},
		{`"section.auto"`, `"section.a/b"`, "no slash"},
		{`"section.profile"`, `"section.profile2"`, "profile/"},
		{`"section.predictors":"null"`, `"section.predictors":"nul"`, "want a JSON value"},
		{`"section.predictors":"null"`, `"section.predictors":""`, "want a JSON value"},
		{`"section.predictors":"null"`, `"section.predictors":7`, "want a string"},
		{`"section.predictors":"null"`, `"section.auto":"null"`, "want its section"},
		{`"section.predictors":"null"`, `"section.predictors":"\ud800"`, "want a JSON value"},
		{`"predictors/bits"`, `"predictors/"`, "without a name"},
		{`"predictors/bits"`, `"bits"`, "want its section"},
		{`"predictors/bits"`, `"crc"`, "belong to no tensor"},
		{`"predictors/bits"`, `"../bits"`, "want its section"},
		{`"predictors/bits"`, `"profile/bits"`, ""}, // a tensor of another section
		{`"predictors/rank"`, `"profile/rank"`, "differently"},
		{`"profile/share":{"dtype":"F16"`, `"profile/share":{"dtype":"BF16"`, "want F32, U32, F16 or U8"},
		{`"profile/share":{"dtype":"F16"`, `"profile/share":{"dtype":"Q9"`, "want F32, U32, F16 or U8"},
		{`"dtype":"U32","shape":[2,3]`, `"dtype":"F32","shape":[2,3]`, ""}, // another type of the same size
		{`"shape":[2,3]`, `"shape":[3,2]`, ""},
		{`"shape":[2,3]`, `"shape":[9223372036854775807,3]`, "below 2^63"},
		{`"shape":[2,3]`, `"shape":[-2,-3]`, "[0, 2^63)"},
		{`"shape":[2,3]`, `"shape":[2,3,1000000000]`, "want 24000000000"},
		{`"pad":{"dtype":"U8","shape":[3]`, `"pad":{"dtype":"U8","shape":[3,1]`, "differently"},
		{`"pad"`, `"padding"`, "want its section"},
		{`"crc":{"dtype":"U32","shape":[1]`, `"crc":{"dtype":"U32","shape":[1,1]`, "differently"},
		{`"crc":{"dtype":"U32","shape":[1]`, `"crc":{"dtype":"U16","shape":[2]`, "differently"},
		{`"crc"`, `"predictors/crc"`, "no checksum"},
		{`,"pad"`, ` , "pad"`, "differently"},
		{`{"__metadata__"`, `{"__Metadata__"`, ""},
		{`{"__metadata__"`, `["__metadata__"`, "JSON object"},
	}
}

// Every change of hostile is refused for the right reason although its checksum
// is right, but for those that make another valid sidecar.
func TestHostileHeaders(t *testing.T) {
	header, data := split(encode(t, small()))
	if _, err := decode(join(header, data)); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	for _, c := range hostile() {
		changed := strings.Replace(header, c.old, c.new, 1)
		if changed == header {
			t.Fatalf("the header has no %s: %s", c.old, header)
		}
		s, err := decode(join(changed, data))
		switch {
		case err == nil && c.want == "":
			if split, _ := split(encode(t, s)); split != changed {
				t.Errorf("%s -> %s: got a sidecar with another header, want it refused", c.old, c.new)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.side"):
			t.Errorf("%s -> %s: got %v, want an error with %q and the file's name", c.old, c.new, err, c.want)
		}
	}
	zeros := bytes.LastIndexByte(data, 0)
	data[zeros] = 1
	if _, err := decode(join(header, data)); err == nil || !strings.Contains(err.Error(), "want zeros") {
		t.Errorf("padding of ones: got %v, want an error", err)
	}
}

// Any header and data, checksum right or not: no panic, and what is accepted is
// what would be written for it.
func FuzzRead(f *testing.F) {
	file := encode(f, small())
	header, data := split(file)
	f.Add(header, data, true)
	f.Add(header, data, false)
	f.Add("{}", []byte{}, true)
	empty, none := split(encode(f, New(testSource)))
	f.Add(empty, none, true)
	for _, c := range hostile() {
		f.Add(strings.Replace(header, c.old, c.new, 1), data, true)
	}
	f.Fuzz(func(t *testing.T, header string, data []byte, right bool) {
		file := join(header, data)
		if !right {
			file[len(file)-1] ^= 0x80
		}
		s, err := decode(file)
		if err != nil {
			if !strings.Contains(err.Error(), "x.side") {
				t.Errorf("got %v, want the file's name", err)
			}
			return
		}
		if !right {
			t.Error("got no error, want the checksum found wrong")
		}
		if !bytes.Equal(encode(t, s), file) {
			t.Error("got another file from what was read, want it refused or the same")
		}
	})
}

// The bytes of a whole file, as they come.
func FuzzReadRaw(f *testing.F) {
	f.Add(encode(f, small()))
	f.Add(encode(f, New(testSource)))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if s, err := decode(file); err == nil && !bytes.Equal(encode(t, s), file) {
			t.Error("got another file from what was read, want it refused or the same")
		}
	})
}

// A sidecar of other weights names both and the file.
func TestMismatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sflow.side")
	if err := New(otherSource).Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, testSource)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || *mismatch != (MismatchError{path, otherSource, testSource}) {
		t.Fatalf("got %v, want a MismatchError", err)
	}
	for _, part := range []string{path, otherSource, testSource} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s in it", err, part)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.side"), testSource); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := Open(dir, testSource); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("a directory: got %v", err)
	}
	path := filepath.Join(dir, "text.side")
	if err := os.WriteFile(path, []byte("not a sidecar at all"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, testSource); err == nil || !strings.Contains(err.Error(), "not a sidecar") || !strings.Contains(err.Error(), path) {
		t.Errorf("a text: got %v", err)
	}
}

// A vast file is refused by its size alone. (The reader has nothing to read.)
func TestTooLarge(t *testing.T) {
	if MaxBytes == math.MaxInt {
		t.Skip("no file is larger than what a reader can address")
	}
	_, err := Read(bytes.NewReader(nil), MaxBytes+1, "x.side", testSource)
	if err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("got %v, want the size refused", err)
	}
	if err := checkSize(MaxBytes); err != nil {
		t.Error(err)
	}
}
