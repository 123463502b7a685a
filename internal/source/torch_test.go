package source

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func openBin(t testing.TB, file []byte) (*Checkpoint, error) {
	return openFiles(t, map[string][]byte{"pytorch_model.bin": file})
}

// count is n bytes 0, 1, 2, ...
func count(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}

// One file with all that a state dict can hold: an ordered dict with _metadata,
// tied tensors, views into a shared storage, parameters, a scalar, an empty
// tensor, and values that are no tensors.
func TestTorchStateDict(t *testing.T) {
	shared := pStorage("HalfStorage", "0", 12)
	view := func(offset int64, shape, strides string) string { return pTensor(shared, offset, shape, strides) }
	dict := pOrderedDict() + "(" + strings.Join([]string{
		pStr("embed"), view(0, pInts(3, 4), pInts(4, 1)),
		pStr("head"), view(0, pInts(3, 4), pInts(4, 1)),
		pStr("part"), view(6, pInts(1, 2, 1, 3), pInts(99, 3, 7, 1)),
		pStr("transposed"), view(0, pInts(4, 3), pInts(1, 4)),
		pStr("expanded"), view(0, pInts(5, 3), pInts(0, 1)),
		pStr("parameter"), pCall(pClass("torch._utils", "_rebuild_parameter"), view(10, pInts(2), pInts(1)), "\x88", pOrderedDict()),
		pStr("scalar"), view(11, ")", ")"),
		pStr("empty"), view(0, pInts(0, 7), pInts(7, 1)),
		pStr("typed"), pCall(pClass("torch._utils", "_rebuild_tensor_v3"), pStorage("UntypedStorage", "0", 24), pInt(3), pInts(2), pInts(1), "\x89", pOrderedDict(), pClass("torch", "float16")),
		pStr("ids"), pTensor(pStorage("LongStorage", "1", 2), 0, pInts(2), pInts(1)),
		pStr("bf16"), pTensor(pStorage("BFloat16Storage", "2", 1), 0, pInts(1), pInts(1)),
		pStr("epoch"), pInt(3), pStr("none"), "N", pStr("list"), "](" + pInt(1) + "e", pStr("float"), "G12345678",
	}, "") + "u" + pDict(pStr("_metadata"), pOrderedDict()+"("+pStr("")+pDict(pStr("version"), pInt(1))+"u") + "b"
	c, err := openBin(t, torchFile(t, pickled(dict), count(24), count(16), count(2)))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		stored string
		shape  []int64
		raw    []byte
	}
	want := map[string]row{
		"embed":      {"F16", []int64{3, 4}, count(24)},
		"head":       {"F16", []int64{3, 4}, count(24)},
		"typed":      {"F16", []int64{2}, count(24)[6:10]},
		"transposed": {"F16", []int64{4, 3}, []byte{0, 1, 8, 9, 16, 17, 2, 3, 10, 11, 18, 19, 4, 5, 12, 13, 20, 21, 6, 7, 14, 15, 22, 23}},
		"expanded":   {"F16", []int64{5, 3}, bytes.Repeat(count(6), 5)},
		"part":       {"F16", []int64{1, 2, 1, 3}, count(24)[12:]},
		"parameter":  {"F16", []int64{2}, count(24)[20:]},
		"scalar":     {"F16", []int64{}, count(24)[22:]},
		"empty":      {"F16", []int64{0, 7}, []byte{}},
		"bf16":       {"BF16", []int64{1}, count(2)},
	}
	bad := map[string][]string{
		"ids": {"I64", "want F32, F16, BF16 or F64"},
	}
	got := make(map[string]row)
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		if parts, ok := bad[name]; ok {
			wantError(t, x.Err(), append(parts, "dir/pytorch_model.bin", name)...)
			delete(bad, name)
			continue
		}
		got[name] = row{x.Stored, x.Shape, readAll(t, x)}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" || len(bad) > 0 {
		t.Errorf("left of bad: %v; %s", bad, diff)
	}
}

// Protocol 4, as torch.save(..., pickle_protocol=4) writes it: frames, memoised
// short strings, classes from the stack.
func TestTorchProtocol4(t *testing.T) {
	short := func(s string) string { return "\x8c" + string(rune(len(s))) + s + "\x94" }
	class := func(module, name string) string { return short(module) + short(name) + "\x93\x94" }
	storage := "(" + short("storage") + class("torch", "FloatStorage") + short("0") + short("cpu") + "K\x02t\x94Q"
	tensor := class("torch._utils", "_rebuild_tensor_v2") + "(" + storage + "K\x00K\x02\x85\x94K\x01\x85\x94\x89" +
		class("collections", "OrderedDict") + ")Rt\x94R\x94"
	body := "}\x94" + short("w") + tensor + "s."
	program := "\x80\x04\x95" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(body)))) + body
	c, err := openBin(t, torchFile(t, program, count(8)))
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := c.Tensor("w"); !ok || !bytes.Equal(readAll(t, w), count(8)) {
		t.Errorf("got %+v", w)
	}
}

func TestPickleErrors(t *testing.T) {
	dict := func(value string) string { return pickled(pDict(pStr("w"), value)) }
	store := func(args string) string { return dict("(" + args + "tQ") }
	float := pStorage("FloatStorage", "0", 4)
	u32 := func(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
	u64 := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	rebuild := pClass("torch._utils", "_rebuild_tensor_v2")
	cases := []struct {
		name, program string
		want          []string
	}{
		// Code.
		{"os.system", dict(pCall(pClass("os", "system"), pStr("true"))), []string{`"os.system"`, "can run code"}},
		{"eval", dict(pCall(pClass("builtins", "eval"), pStr("1"))), []string{`"builtins.eval"`}},
		{"class from the stack", dict(pStr("posix") + pStr("system") + "\x93"), []string{"posix.system"}},
		{"class of Python 2", dict(pClass("copy_reg", "_reconstructor")), []string{`"copy_reg._reconstructor"`}},
		{"storage of another module", dict(pClass("evil", "FloatStorage")), []string{`"evil.FloatStorage"`}},
		{"unknown storage", dict(pClass("torch", "EvilStorage")), []string{`"torch.EvilStorage"`}},
		{"a class is no function", dict(pCall(pClass("torch", "float16"), pInt(1))), []string{`"torch.float16"`, "only what rebuilds"}},
		{"a tensor is no function", dict(pCall(pVector(1), pInt(1))), []string{"a tensor that is called"}},
		{"partial", dict(pClass("functools", "partial")), []string{`"functools.partial"`, "can run code"}},
		{"getattr", dict(pClass("__builtin__", "getattr")), []string{`"__builtin__.getattr"`}},
		{"numpy", dict(pClass("numpy.core.multiarray", "_reconstruct")), []string{`"numpy.core.multiarray._reconstruct"`}},
		{"a name of 1 MB", dict("c" + strings.Repeat("x", 1<<20)), []string{"class name"}},
		{"no class name", "ctorch\nx", []string{"class name"}},
		{"instance opcode", pickled("(ios\nsystem\n"), []string{`opcode 'i'`}},
		{"extension opcode", pickled("\x82\x01"), []string{"opcode"}},
		{"opcode 255", pickled("\xff"), []string{"opcode"}},
		// Lengths and memory.
		{"nothing", "", []string{"0 bytes of pickle", "STOP"}},
		{"no stop", "\x80\x02}", []string{"3 bytes of pickle", "STOP"}},
		{"string of 4 GB", pickled("X" + u32(1<<32-1)), []string{"string of 4294967295 bytes"}},
		{"string past the end", pickled("X" + u32(100)), []string{"to the end, want 100"}},
		{"short string past the end", pickled("\x8c\xff"), []string{"want 255"}},
		{"frame of 16 EB", "\x80\x04\x95" + u64(1<<64-1), []string{"STOP"}},
		{"bytes of 16 EB", "\x80\x04\x8e" + u64(1<<64-1), []string{"string of 18446744073709551615 bytes"}},
		{"a number cut short", "\x80\x02Jxx", []string{"2 bytes to the end, want 4"}},
		{"marks without end", pickled(strings.Repeat("(", 4<<20)), []string{"opcodes"}},
		{"tuples without end", pickled(strings.Repeat("(t", 4<<20)), []string{"opcodes"}},
		{"one list made a dict again and again", pickled("](" + strings.Repeat(pInt(1)+pInt(2)+"\x86", 1e5) + "eq\x00" +
			strings.Repeat(pClass("collections", "OrderedDict")+"h\x00\x85R", 1e5)), []string{"dict without tensors"}},
		// Programs that do not work out.
		{"stack empty", pickled("s"), []string{"too few values"}},
		{"nothing to stop with", "\x80\x02.", []string{"too few values"}},
		{"no mark", pickled("t"), []string{"no mark"}},
		{"odd items", pickled("}(Nu"), []string{"1 keys and values"}},
		{"items of a number", pickled(pInt(1) + "(NNu"), []string{"a int64 to set items of"}},
		{"a mark as an argument", pickled(pOrderedDict() + "(" + pStr("a") + "R"), []string{"got a mark"}},
		{"arguments a string", pickled(pClass("collections", "OrderedDict") + pStr("a") + "R"), []string{"arguments of type string"}},
		{"list in itself", pickled("]q\x00h\x00a)R"), []string{"a list that is called"}},
		{"type of a type of a type", dict(pCall(pClass("torch._tensor", "_rebuild_from_type_v2"), pClass("torch._tensor", "_rebuild_from_type_v2"), "N", ")", "N")), []string{"want a call that rebuilds"}},
		{"memo not set", pickled("h\x07"), []string{"no value 7 in the memo"}},
		{"protocol 9", "\x80\x09N.", []string{"protocol 9"}},
		// Values that are no state dict.
		{"a number", pickled(pInt(1)), []string{"pickled int64", "want a dict"}},
		{"a tensor", pickled(pVector(1)), []string{"want a dict"}},
		{"empty dict", pickled("}"), []string{"dict without tensors"}},
		{"training checkpoint", pickled(pDict(pStr("state_dict"), pDict(pStr("w"), pVector(1)))), []string{"dict without tensors"}},
		{"tensor without a name", pickled(pDict(pInt(1), pVector(1))), []string{"dict without tensors"}},
		// Persistent ids.
		{"id a string", dict(pStr("x") + "Q"), []string{"persistent id of type string"}},
		{"id too short", store(pStr("storage")), []string{"persistent id"}},
		{"id of another kind", store(pStr("module") + pClass("torch", "FloatStorage") + pStr("0") + pStr("cpu") + pInt(1)), []string{"want 'storage'"}},
		{"id without a class", store(pStr("storage") + pStr("x") + pStr("0") + pStr("cpu") + pInt(1)), []string{"want 'storage'"}},
		{"id with a number as key", store(pStr("storage") + pClass("torch", "FloatStorage") + pInt(0) + pStr("cpu") + pInt(1)), []string{"want 'storage'"}},
		{"id with a negative count", dict(pStorage("FloatStorage", "0", -1)), []string{"want 'storage'"}},
		// Tensors.
		{"five arguments", dict(pCall(rebuild, float, pInt(0), pInts(1), pInts(1), "\x89")), []string{"5 arguments"}},
		{"no storage", dict(pTensor("N", 0, pInts(1), pInts(1))), []string{"want a storage"}},
		{"negative offset", dict(pTensor(float, -1, pInts(1), pInts(1))), []string{"negative offset"}},
		{"negative shape", dict(pTensor(float, 0, pInts(-1), pInts(1))), []string{"shape", "negative"}},
		{"negative stride", dict(pTensor(float, 0, pInts(1), pInts(-1))), []string{"strides", "negative"}},
		{"shape a number", dict(pTensor(float, 0, pInt(1), pInts(1))), []string{"shape", "tuple"}},
		{"shape of strings", dict(pTensor(float, 0, "("+pStr("1")+"t", pInts(1))), []string{"shape", "string"}},
		{"65 dimensions", dict(pTensor(float, 0, pInts(make([]int64, 65)...), pInts(make([]int64, 65)...))), []string{"at most 64"}},
		{"more strides than shape", dict(pTensor(float, 0, pInts(1), pInts(1, 1))), []string{"2 strides, want 1"}},
		{"parameter of nothing", dict(pCall(pClass("torch._utils", "_rebuild_parameter"), "N", "N", "N")), []string{"want a tensor"}},
		{"parameter of five", dict(pCall(pClass("torch._utils", "_rebuild_parameter"), "N", "N", "N", "N", "N")), []string{"5 arguments"}},
		{"type that is none", dict(pCall(pClass("torch._utils", "_rebuild_tensor_v3"), float, pInt(0), pInts(1), pInts(1), "N", "N", "N")), []string{"want an element type"}},
		// Tensors against storages; "0" has 16 bytes.
		{"storage not there", dict(pTensor(pStorage("FloatStorage", "7", 1), 0, pInts(1), pInts(1))), []string{`tensor "w"`, `"m/data/7"`}},
		{"storage upward", dict(pTensor(pStorage("FloatStorage", "../data.pkl", 1), 0, pInts(1), pInts(1))), []string{`tensor "w"`, `"m/data/../data.pkl"`}},
		{"storage too small", dict(pVector(5)), []string{`tensor "w"`, "storage of 16 bytes, want 5 elements of F32"}},
		{"storage count wraps", dict(pVector(1 << 62)), []string{`tensor "w"`, "want 4611686018427387904 elements"}},
		{"tensor too large", dict(pTensor(float, 0, pInts(5), pInts(1))), []string{`tensor "w"`, "storage of 4 elements"}},
		{"view ends outside", dict(pTensor(float, 0, pInts(3, 2), pInts(1, 2))), []string{`tensor "w"`, "strides [1 2]", "storage of 4 elements"}},
		{"strides wrap", dict(pTensor(float, 0, pInts(3, 3), pInts(1<<62, 1<<62))), []string{`tensor "w"`, "storage of 4 elements"}},
		{"tensor ends outside", dict(pTensor(float, 2, pInts(3), pInts(1))), []string{`tensor "w"`, "offset 2 of a storage of 4"}},
		{"tensor starts outside", dict(pTensor(float, 1<<62, pInts(1), pInts(1))), []string{`tensor "w"`, "storage of 4 elements"}},
		{"shape wraps", dict(pTensor(float, 0, pInts(1<<32, 1<<32+1), pInts(1, 1))), []string{`tensor "w"`, "2^63"}},
		{"size of a view wraps", dict(pTensor(float, 0, pInts(1<<31, 1<<31), pInts(0, 0))), []string{`tensor "w"`, "2^63"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := openBin(t, torchFile(t, c.program, count(16)))
			wantError(t, err, append(c.want, "read dir/pytorch_model.bin:")...)
		})
	}
}

func TestZipErrors(t *testing.T) {
	program := []byte(pickled(pDict(pStr("w"), pVector(4))))
	pkl := zipEntry{name: "m/data.pkl", data: program}
	data := zipEntry{name: "m/data/0", data: count(16)}
	good := zipFile(t, pkl, data)
	if _, err := openBin(t, good); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(p []byte)) []byte {
		p := slices.Clone(good)
		change(p)
		return p
	}
	end := len(good) - zipEndBytes
	dir := int(binary.LittleEndian.Uint32(good[end+16:]))
	cases := []struct {
		name string
		file []byte
		want []string
	}{
		{"empty", nil, []string{"0 bytes"}},
		{"not a zip", make([]byte, 99), []string{"starting with", "torch.save"}},
		{"cut short", good[:len(good)-1], []string{"cut short"}},
		{"cut in half", good[:len(good)/2], []string{"cut short"}},
		{"with a comment", append(edit(func(p []byte) { p[end+20] = 1 }), 'x'), []string{"no zip directory at the end"}},
		{"half a comment", edit(func(p []byte) { p[end+20] = 1 }), []string{"no zip directory at the end"}},
		{"start missing", good[30:], []string{"starting with"}},
		{"bytes missing inside", slices.Delete(slices.Clone(good), 40, 41), []string{"want it to end at"}},
		{"directory of 4 GB", edit(func(p []byte) { binary.LittleEndian.PutUint32(p[end+12:], 1<<32-1) }), []string{"zip directory of 2 entries in 4294967295 bytes"}},
		{"65534 entries", edit(func(p []byte) { binary.LittleEndian.PutUint16(p[end+10:], 65534) }), []string{"zip directory of 65534 entries"}},
		{"fewer entries than said", edit(func(p []byte) { binary.LittleEndian.PutUint16(p[end+10:], 1) }), []string{"broken zip directory"}},
		{"directory elsewhere", edit(func(p []byte) { binary.LittleEndian.PutUint32(p[end+16:], 0) }), []string{"want it to end at"}},
		{"directory not there", edit(func(p []byte) { p[dir] = 'X' }), []string{"broken zip directory"}},
		{"local header broken", edit(func(p []byte) { copy(p, "PK\x03\x04"); p[dir+42] = 1 }), []string{"local header"}},
		{"entry past the end", edit(func(p []byte) {
			binary.LittleEndian.PutUint32(p[dir+20:], 1<<30)
			binary.LittleEndian.PutUint32(p[dir+24:], 1<<30)
		}), []string{"1073741824 bytes", "inside the file"}},
		{"encrypted", edit(func(p []byte) { p[dir+8] |= 1 }), []string{"encrypted"}},
		{"another method", edit(func(p []byte) { p[dir+10] = 99 }), []string{`"m/data.pkl" compressed`, "method 99"}},
		{"pickle compressed", zipFile(t, zipEntry{"m/data.pkl", program, zip.Deflate}, data), []string{`"m/data.pkl" compressed`, "method 8"}},
		{"storage compressed", zipFile(t, pkl, zipEntry{"m/data/0", count(16), zip.Deflate}), []string{`"m/data/0" compressed`, "method 8"}},
		{"no pickle", zipFile(t, data), []string{"data.pkl", "torch.save"}},
		{"pickle at the root", zipFile(t, zipEntry{name: "data.pkl", data: program}, data), []string{"data.pkl", "torch.save"}},
		{"two pickles", zipFile(t, pkl, zipEntry{name: "n/data.pkl", data: program}), []string{`"m/data.pkl"`, `"n/data.pkl"`}},
		{"entry twice", zipFile(t, pkl, data, data), []string{`"m/data/0" twice`}},
		{"big-endian", zipFile(t, pkl, data, zipEntry{name: "m/byteorder", data: []byte("big")}), []string{`byte order "big"`}},
		{"byte order a story", zipFile(t, pkl, data, zipEntry{name: "m/byteorder", data: count(65)}), []string{"m/byteorder", "at most 64"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := openBin(t, c.file)
			wantError(t, err, append(c.want, "read dir/pytorch_model.bin:")...)
		})
	}
}

// withZip64 puts a zip64 end record and its locator before the end record of a
// zip, which then points to them.
func withZip64(file []byte, records, dirBytes, dirOffset, at uint64) []byte {
	end := len(file) - zipEndBytes
	p := slices.Clone(file[:end])
	p = append(p, "PK\x06\x06"...)
	p = binary.LittleEndian.AppendUint64(p, zipEnd64Bytes-12)
	p = append(p, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, v := range []uint64{records, records, dirBytes, dirOffset} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	p = append(p, "PK\x06\x07\x00\x00\x00\x00"...)
	p = binary.LittleEndian.AppendUint64(p, at)
	p = append(p, 1, 0, 0, 0)
	p = append(p, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	return p
}

func TestZip64(t *testing.T) {
	good := torchFile(t, pickled(pDict(pStr("w"), pVector(4))), count(16))
	end := uint64(len(good) - zipEndBytes)
	dir := uint64(binary.LittleEndian.Uint32(good[end+16:]))
	c, err := openBin(t, withZip64(good, 3, end-dir, dir, end))
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := c.Tensor("w"); !ok || !bytes.Equal(readAll(t, w), count(16)) {
		t.Errorf("got %+v", w)
	}
	const wrap = 1 << 64
	bad := map[string][]byte{
		"of 1000 bytes at offset 18446744073709551":  withZip64(good, 3, 1000, wrap-1000+end, end),
		"want at most 16777216":                      withZip64(good, 1<<60, end-dir, dir, end),
		"zip directory of 3":                         withZip64(good, 3, 1<<63, dir, end),
		"want it to end at":                          withZip64(good, 3, end-dir, 1<<63+dir, end),
		"zip64 record at offset 5":                   withZip64(good, 3, end-dir, dir, 5),
		"zip64 record at offset 9223372036854775808": withZip64(good, 3, end-dir, dir, 1<<63),
	}
	for want, file := range bad {
		_, err := openBin(t, file)
		wantError(t, err, want, "read dir/pytorch_model.bin:")
	}
}

func FuzzTorch(f *testing.F) {
	// Small seeds: most of a golden file is weights, where a mutation is lost.
	small := torchFile(f, pickled(pDict(pStr("w"), pVector(4))), count(16))
	f.Add(small)
	end := uint64(len(small) - zipEndBytes)
	dir := uint64(binary.LittleEndian.Uint32(small[end+16:]))
	f.Add(withZip64(small, 3, end-dir, dir, end))
	f.Add(zipFile(f, zipEntry{"m/data.pkl", []byte(pickled("}")), zip.Deflate}))
	f.Fuzz(func(t *testing.T, data []byte) { tryTorch(t, data) })
}

// FuzzLegacy puts the fuzzer's bytes behind the magic number.
func FuzzLegacy(f *testing.F) {
	dict := pDict(pStr("w"), pTensor(pOldStorage("0", 2, "N"), 0, pInts(2), pInts(1)))
	f.Add(pLegacy(dict, "]"+pStr("0")+"a", "\x88", count(8))[len(legacyStart):])
	f.Fuzz(func(t *testing.T, data []byte) { tryTorch(t, append([]byte(legacyStart), data...)) })
}

// FuzzPickle puts the fuzzer's bytes where FuzzTorch would hardly reach.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(pickled(pDict(pStr("w"), pVector(4)))))
	f.Add([]byte(pickled(pOrderedDict() + "(" + pStr("w") + pTensor(pStorage("HalfStorage", "0", 8), 2, pInts(3, 2), pInts(2, 1)) +
		"u" + pDict(pStr("_metadata"), pOrderedDict()) + "b")))
	f.Add([]byte("\x80\x04\x95\x08\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01w\x94K\x01s."))
	f.Fuzz(func(t *testing.T, program []byte) { tryTorch(t, torchFile(t, string(program), count(16))) })
}

// tryTorch opens a file and, if that works, reads every tensor to its end, or
// some of one that repeats a few elements without end.
func tryTorch(t *testing.T, file []byte) {
	c, err := openBin(t, file)
	if err != nil {
		if strings.Contains(err.Error(), "\n") {
			t.Fatalf("got an error of several lines: %v", err)
		}
		return
	}
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		if x.Err() != nil {
			continue
		}
		p := make([]byte, min(x.Bytes(), 1<<16))
		for _, off := range []int64{0, x.Bytes() - int64(len(p))} {
			if n, err := x.ReadAt(p, off); n != len(p) || err != nil {
				t.Fatalf("%s: read %d of %d bytes: %v", name, n, len(p), err)
			}
		}
	}
}

// pLegacy is a file of the format before PyTorch 1.6.
func pLegacy(dict, keys string, littleEndian string, storages ...[]byte) []byte {
	p := []byte(legacyStart + pickled("M\xe9\x03") + pickled(pDict(pStr("little_endian"), littleEndian)) + pickled(dict) + pickled(keys))
	for _, s := range storages {
		p = binary.LittleEndian.AppendUint64(p, uint64(len(s)/4))
		p = append(p, s...)
	}
	return p
}

// pOldStorage is a float storage as legacy files have it; view is None or a view.
func pOldStorage(key string, elements int64, view string) string {
	return "(" + pStr("storage") + pClass("torch", "FloatStorage") + pStr(key) + pStr("cpu") + pInt(elements) + view + "tQ"
}

// The legacy format, with strings as Python 2 writes them, a dict of pairs, and
// a storage that is a view of another.
func TestTorchLegacy(t *testing.T) {
	short := func(s string) string { return "U" + string(rune(len(s))) + s }
	tensor := func(storage string, n int64) string {
		return pCall(pClass("torch._utils", "_rebuild_tensor"), storage, pInt(0), pInts(n), pInts(1))
	}
	view := "(" + pStr("v") + pInt(1) + pInt(2) + "t"
	dict := pCall(pClass("collections", "OrderedDict"), "]("+
		"]("+short("a")+tensor(pOldStorage("94", 3, "N"), 3)+"e"+
		"]("+short("b")+tensor(pOldStorage("7", 2, "N"), 2)+"e"+
		"]("+short("view")+tensor(pOldStorage("94", 3, view), 2)+"e"+"e")
	keys := "](" + short("7") + short("94") + "e"
	good := pLegacy(dict, keys, "\x88", count(8), count(12))
	c, err := openBin(t, good)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"a": count(12), "b": count(8), "view": count(12)[4:]} {
		if x, ok := c.Tensor(name); !ok || !bytes.Equal(readAll(t, x), want) {
			t.Errorf("%s: got %+v, want %x", name, x, want)
		}
	}
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"cut short", good[:len(good)-1], []string{`"94"`, "12 bytes", "inside the file"}},
		{"cut in the count", good[:len(good)-13], []string{`"94"`}},
		{"only the start", good[:len(legacyStart)], []string{"pickle 2 of 5", "cut short"}},
		{"nothing behind the start", append([]byte(legacyStart), make([]byte, 99)...), []string{"pickle 2 of 5"}},
		{"big-endian", pLegacy(dict, keys, "\x89", count(8), count(12)), []string{`byte order "big"`}},
		{"a key too few", pLegacy(dict, "]("+short("7")+"e", "\x88", count(8)), []string{`"a"`, `no storage "94"`}},
		{"a key that nobody wants", pLegacy(dict, "]("+short("9")+"e", "\x88", count(8)), []string{`storage "9"`}},
		{"keys no list", pLegacy(dict, "N", "\x88"), []string{"got a None", "list of storages"}},
		{"storage shorter than said", pLegacy(dict, keys, "\x88", count(4), count(12)), []string{`"b"`, "storage of 4 bytes, want 2 elements"}},
		{"view outside", pLegacy(pDict(pStr("a"), tensor(pOldStorage("7", 2, "("+pStr("v")+pInt(1)+pInt(2)+"t"), 2)), keys, "\x88", count(8), count(12)), []string{"want it inside a storage of 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := openBin(t, c.file)
			wantError(t, err, append(c.want, "read dir/pytorch_model.bin:")...)
		})
	}
}

// A real state dict is far below the bound: 30 000 tensors fit.
func TestPickleOpsOfTensor(t *testing.T) {
	file, err := os.ReadFile("testdata/pytorch-bin/pytorch_model.bin")
	if err != nil {
		t.Fatal(err)
	}
	a, err := openArchive(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	program, err := a.readEntry(a.entries[a.root+"data.pkl"], maxPickleBytes)
	if err != nil {
		t.Fatal(err)
	}
	u := newUnpickler(bytes.NewReader(program), loadStorage)
	if _, err := u.load(); err != nil {
		t.Fatal(err)
	}
	const tensors = 37
	if most := maxPickleOps / 30_000; u.ops/tensors > most {
		t.Errorf("got %d opcodes a tensor, want at most %d", u.ops/tensors, most)
	}
}

// What torch.load(weights_only=True) allows, and is no tensor, is passed over;
// tensors that carry attributes are tensors.
func TestTorchWeightsOnly(t *testing.T) {
	call := func(module, name string, args ...string) string { return pCall(pClass(module, name), args...) }
	vector := pVector(4)
	dict := pDict(
		pStr("state"), call("torch._utils", "_rebuild_parameter_with_state", vector, "\x88", pOrderedDict(), pDict(pStr("tensor_model_parallel"), "\x88")),
		pStr("typed"), call("torch._tensor", "_rebuild_from_type_v2", pClass("torch._utils", "_rebuild_tensor_v2"), pClass("torch.nn.parameter", "Parameter"),
			"("+pStorage("FloatStorage", "0", 4)+pInt(0)+pInts(4)+pInts(1)+"\x89"+pOrderedDict()+"t", pDict(pStr("x"), pInt(1))),
		pStr("cuda"), pTensor("("+pStr("storage")+pClass("torch.cuda", "FloatStorage")+pStr("0")+pStr("cuda:0")+pInt(4)+"tQ", 0, pInts(4), pInts(1)),
		pStr("size of a size"), pTensor(pStorage("FloatStorage", "0", 4), 0, call("torch", "Size", pInts(4)), pInts(1)),
		pStr("twice"), pTensor(pStorage("FloatStorage", "0", 4), 0, pInts(1), pInts(1)),
		pStr("twice"), vector,
		pStr("sparse"), call("torch._utils", "_rebuild_sparse_tensor", "N", "N"),
		pStr("dtype"), pClass("torch", "bfloat16"),
		pStr("size"), call("torch", "Size", pInts(1, 2)),
		pStr("device"), call("torch", "device", pStr("cuda"), pInt(0)),
		pStr("bytes"), call("_codecs", "encode", pStr("x"), pStr("latin1")),
		pStr("bytearray"), call("builtins", "bytearray", pStr("x")),
		pStr("set"), call("__builtin__", "set", "]("+pInt(1)+"e"),
		pStr("complex"), call("builtins", "complex", "G12345678", "G12345678"),
		pStr("counter"), call("collections", "Counter", pDict(pStr("x"), pInt(1))),
		pStr("tensor class"), pClass("torch", "FloatTensor"),
		pStr("scheme"), pClass("torch", "per_tensor_affine"),
		pStr("big"), "\x8a\x0a0123456789",
		pInt(7), vector, // no name
	)
	c, err := openBin(t, torchFile(t, pickled(dict), count(16)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.Names(), ", "), "cuda, size of a size, sparse, state, twice, typed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, name := range c.Names() {
		x, _ := c.Tensor(name)
		if name == "sparse" {
			wantError(t, x.Err(), "sparse tensor", "want a plain one")
		} else if !bytes.Equal(readAll(t, x), count(16)) {
			t.Errorf("%s: got other bytes", name)
		}
	}
}

// A view reads as the tensor that its strides make, at any place and however
// far its elements lie apart.
func TestViews(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.Int64Range(1, 5), 1, 4).Draw(t, "shape")
		strides := make([]int64, len(shape))
		for i := range strides {
			strides[i] = rapid.SampledFrom([]int64{0, 1, 2, 3, 7, 40, 20_000}).Draw(t, "stride")
		}
		offset := rapid.Int64Range(0, 3).Draw(t, "offset")
		last, _ := lastElement(shape, strides)
		const elem = 2
		data := make([]byte, elem*(offset+last+1))
		for i := range len(data) / elem {
			binary.LittleEndian.PutUint16(data[elem*i:], uint16(i*40503))
		}
		s := storedTensor{name: "w", dtype: "F16", storage: &storage{"0", "F16", 0, offset + last + 1}, offset: offset, shape: shape, strides: strides}
		x, err := s.place(map[string]place{"0": {0, int64(len(data))}})
		if err != nil {
			t.Fatal(err)
		}
		x.r = bytes.NewReader(data)
		n, _ := elements(shape)
		var want []byte
		for i := range n {
			at, rest := offset, i
			for k := len(shape) - 1; k >= 0; k-- {
				at += rest % shape[k] * strides[k]
				rest /= shape[k]
			}
			want = append(want, data[elem*at:elem*at+elem]...)
		}
		from := rapid.Int64Range(0, int64(len(want))-1).Draw(t, "from")
		got := make([]byte, rapid.Int64Range(1, int64(len(want))-from).Draw(t, "bytes"))
		if n, err := x.ReadAt(got, from); n != len(got) || err != nil {
			t.Fatalf("got %d of %d bytes, %v", n, len(got), err)
		}
		if !bytes.Equal(got, want[from:][:len(got)]) {
			t.Fatalf("from %d: got %x, want %x", from, got, want[from:][:len(got)])
		}
	})
}

// Unpickling allocates in proportion to the opcodes, for every way to ask for
// much with little: without that, maxPickleOps would bound nothing.
func TestPickleMemory(t *testing.T) {
	ordered := pOrderedDict()
	wide := pInts(make([]int64, 64)...)
	for name, body := range map[string]string{
		"marks":            strings.Repeat("(", 1e5),
		"tuples":           strings.Repeat("(t", 1e5),
		"small tuples":     "N" + strings.Repeat("\x85", 1e5),
		"empty dicts":      strings.Repeat("}", 1e5),
		"empty lists":      strings.Repeat("]", 1e5),
		"ordered dicts":    strings.Repeat(ordered, 1e4),
		"strings":          strings.Repeat(pStr(strings.Repeat("x", 1000)), 1e4),
		"list items":       "]" + strings.Repeat("Na", 1e5),
		"many list items":  "](" + strings.Repeat("N", 1e5) + "e",
		"many dict items":  "}(" + strings.Repeat("N", 1e5) + "u",
		"one dict copied":  "}(" + strings.Repeat("N", 1e5) + "uq\x00" + strings.Repeat(pClass("collections", "Counter")+"h\x00\x85R", 1e4),
		"one dict built":   ordered + strings.Repeat("h\x00b", 0) + "}(" + strings.Repeat(pStr("x")+"N", 1e5) + "ub",
		"memo":             "N" + strings.Repeat("\x94", 1e5),
		"classes":          strings.Repeat(pClass("torch", "FloatStorage"), 1e4),
		"tensors":          strings.Repeat(pVector(4), 1e4),
		"one shape shared": wide + "q\x00" + strings.Repeat(pTensor(pStorage("FloatStorage", "0", 4), 0, "h\x00", "h\x00"), 1e3),
	} {
		program := pickled(body + "N")
		u := newUnpickler(strings.NewReader(program), loadStorage)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := u.load()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		used, most := int64(after.TotalAlloc-before.TotalAlloc), 350*int64(u.ops)+6*int64(len(program))+64<<10
		if used > most {
			t.Errorf("%s: allocated %d bytes for %d opcodes in %d bytes, want at most %d", name, used, u.ops, len(program), most)
		}
	}
}
