package source

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// wantError holds err to one line that has every one of the parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, p := range append(parts, "source: ", "got ") {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("got error %q, want %q in it", err, p)
		}
	}
	if msg := err.Error(); strings.Contains(msg, "\n") || len(msg) > 1500 {
		t.Errorf("got an error of %d bytes, want one line: %q", len(msg), msg)
	}
}

// openFiles opens a checkpoint held in memory, under the name "dir".
func openFiles(t testing.TB, files map[string][]byte) (*Checkpoint, error) {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	c, err := Open(fsys, "dir")
	if c != nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// readAll is the whole tensor.
func readAll(t testing.TB, x *Tensor) []byte {
	t.Helper()
	p := make([]byte, x.Bytes())
	if n, err := x.ReadAt(p, 0); n != len(p) || err != nil {
		t.Fatalf("%s: read %d of %d bytes: %v", x.Name, n, len(p), err)
	}
	return p
}

// rawSafetensors puts a header, right or wrong, before dataBytes zeros.
func rawSafetensors(header string, dataBytes int) []byte {
	p := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(p, header...), make([]byte, dataBytes)...)
}

// safetensorsFile is a file of F32 vectors, each full of its index.
func safetensorsFile(t testing.TB, names ...string) []byte {
	var entries []SafetensorsEntry
	var data []byte
	for i, name := range names {
		entries = append(entries, SafetensorsEntry{Name: name, DType: "F32", Shape: []int64{2}, Bytes: 8})
		data = append(data, bytes.Repeat([]byte{byte(i)}, 8)...)
	}
	header, err := BuildHeader(nil, entries, 8)
	if err != nil {
		t.Fatal(err)
	}
	return append(header, data...)
}

// A zipEntry is one entry for zipFile.
type zipEntry struct {
	name   string
	data   []byte
	method uint16
}

func zipFile(t testing.TB, entries ...zipEntry) []byte {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// torchFile is what torch.save writes for a pickle and its storages "0", "1", ...
func torchFile(t testing.TB, program string, storages ...[]byte) []byte {
	entries := []zipEntry{{name: "m/data.pkl", data: []byte(program)}, {name: "m/byteorder", data: []byte("little")}}
	for i, s := range storages {
		entries = append(entries, zipEntry{name: fmt.Sprintf("m/data/%d", i), data: s})
	}
	return zipFile(t, entries...)
}

// The rest assembles pickles, protocol 2, one Go expression per Python value.

func pickled(value string) string { return "\x80\x02" + value + "." }

func pStr(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func pInt(n int64) string {
	if n == int64(int32(n)) {
		return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	}
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func pInts(n ...int64) string {
	s := "("
	for _, v := range n {
		s += pInt(v)
	}
	return s + "t"
}

// pDict is a dict of alternating keys and values.
func pDict(items ...string) string { return "}(" + strings.Join(items, "") + "u" }

func pClass(module, name string) string { return "c" + module + "\n" + name + "\n" }

func pCall(class string, args ...string) string {
	return class + "(" + strings.Join(args, "") + "tR"
}

func pOrderedDict() string { return pCall(pClass("collections", "OrderedDict")) }

func pStorage(class, key string, elements int64) string {
	return "(" + pStr("storage") + pClass("torch", class) + pStr(key) + pStr("cpu") + pInt(elements) + "tQ"
}

func pTensor(storage string, offset int64, shape, strides string) string {
	return pCall(pClass("torch._utils", "_rebuild_tensor_v2"),
		storage, pInt(offset), shape, strides, "\x89", pOrderedDict())
}

// pVector is a contiguous F32 vector of n elements in storage "0".
func pVector(n int64) string {
	return pTensor(pStorage("FloatStorage", "0", n), 0, pInts(n), pInts(1))
}
