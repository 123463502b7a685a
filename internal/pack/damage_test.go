package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// tinyPack is a pack of the fewest pages that hold every kind of part.
func tinyPack(t testing.TB) (path string, file []byte) {
	t.Helper()
	path, _ = makePack(t, Spec{Profile: tinyProfile(), Attn: 1, MLP: 1, Tokenizer: map[string][]byte{"vocab.json": []byte("{}")}})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, file
}

// memory is a file in memory.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }
func (m memory) Close() error                            { return nil }

// stride is how far the bytes lie apart that a test tries one after the other: in a
// short run not every one.
func stride() int {
	if testing.Short() {
		return 13
	}
	return 1
}

// A change of any single byte is found, wherever it is: by Open in what it reads
// (header, tables, crc.head), by Verify in all the rest, and never blamed on
// another place.
func TestFlipEveryByte(t *testing.T) {
	t.Parallel()
	_, file := tinyPack(t)
	t.Run("bundles", func(t *testing.T) { flipEveryByte(t, file, stride()) })
	path, _ := makePack(t, Spec{Profile: withExperts(tinyProfile(), 2, 1), Attn: 1, MLP: 1})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("experts", func(t *testing.T) { flipEveryByte(t, file, 13*stride()) })
}

func flipEveryByte(t *testing.T, file []byte, step int) {
	const path = "flipped.sflow"
	m := memory(file)
	p, err := open(m, int64(len(m)), path)
	if err != nil {
		t.Fatal(err)
	}
	opened := func(i int64) bool {
		return i < p.tensors[0].Offset || i >= p.headOffset ||
			i >= p.blocksOffset && i < p.blocksOffset+4*int64(p.blocks) ||
			i >= p.unitsOffset && i < p.unitsOffset+4*p.units()
	}
	for i := 0; i < len(m); i += step {
		m[i] ^= 1 << (i % 8)
		var err error
		if opened(int64(i)) {
			_, err = open(m, int64(len(m)), path)
		} else {
			err = p.verify(context.Background(), nil)
		}
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("byte %d of %d: got %v after a flip, want an error that names the file", i, len(m), err)
		}
		var damage *DamageError
		if errors.As(err, &damage) && int64(i) < p.headOffset && (int64(i) < damage.Offset || int64(i) >= damage.Offset+damage.Bytes) {
			t.Fatalf("byte %d: got damage at %d to %d", i, damage.Offset, damage.Offset+damage.Bytes)
		}
		m[i] ^= 1 << (i % 8)
	}
	if err := p.verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// A damaged expert is named, whichever of its bytes it is.
func TestDamagedExpert(t *testing.T) {
	p := withExperts(tinyProfile(), 3, 80) // experts of 3840 bytes
	path, _ := makePack(t, Spec{Profile: p, Attn: 1, MLP: 1})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := memory(file)
	opened, err := open(m, int64(len(m)), path)
	if err != nil {
		t.Fatal(err)
	}
	for at := opened.ExpertOffset(0, 0, 0); at < opened.ExpertOffset(0, 0, 2)+4096; at += 97 {
		m[at] ^= 4
		e := (at - opened.ExpertOffset(0, 0, 0)) / 4096
		want := fmt.Sprintf("pack: %s: damaged at layers.0.moe.experts, expert %d (4096 bytes from offset %d): got CRC-32C", path, e, opened.ExpertOffset(0, 0, int(e)))
		if err := opened.verify(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Fatalf("got %v, want %s...", err, want)
		}
		m[at] ^= 4
	}
	if err := opened.verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Verify is Open and verify of the file, and finds damage there too.
func TestVerifyFile(t *testing.T) {
	path, file := tinyPack(t)
	if err := Verify(context.Background(), path, nil); err != nil {
		t.Fatal(err)
	}
	p := mustOpen(t, path)
	at := p.BundleOffset(0, 2) + 5
	file[at] ^= 1
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	err := Verify(context.Background(), path, nil)
	want := fmt.Sprintf("pack: %s: damaged at layers.0.mlp.bundles, neuron 2 (512 bytes from offset %d): got CRC-32C", path, at-5)
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}

// A pack cut short anywhere does not open, nor does one with more at its end.
func TestTruncateEverywhere(t *testing.T) {
	t.Parallel()
	_, file := tinyPack(t)
	for n := 0; n < len(file); n += stride() {
		if _, err := open(memory(file[:n]), int64(n), "cut.sflow"); err == nil || !strings.Contains(err.Error(), "cut.sflow") {
			t.Fatalf("%d of %d bytes: got %v, want an error that names the file", n, len(file), err)
		}
	}
	if _, err := open(memory(append(file, 0)), int64(len(file)+1), "long.sflow"); err == nil {
		t.Error("a byte more: got no error")
	}
}

// withHeader is file with another JSON header, padded, and with checksums that
// fit it, so that only the checks of what the header says are left.
func withHeader(file []byte, headerBytes int, json string) memory {
	h := append(binary.LittleEndian.AppendUint64(nil, 0), json...)
	h = append(h, bytes.Repeat([]byte{' '}, int(alignUp(int64(len(h)), pageBytes))-len(h))...)
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	m := append(h, file[headerBytes:]...)
	binary.LittleEndian.PutUint32(m[len(m)-pageBytes:], checksum(h))
	return m
}

// FuzzOpen opens packs whose header was changed. What opens can be read to its
// end without a panic.
func FuzzOpen(f *testing.F) {
	_, file := tinyPack(f)
	p, err := open(memory(file), int64(len(file)), "x.sflow")
	if err != nil {
		f.Fatal(err)
	}
	headerBytes := int(p.tensors[0].Offset)
	header := strings.TrimRight(string(file[8:headerBytes]), " ")
	f.Add(header)
	f.Add(strings.Replace(header, `\"layers\":1`, `\"layers\":1,\"kinds\":[{\"moe\":{\"experts\":16384,\"top_k\":1,\"width\":1048576}}]`, 1))
	for _, c := range hostile() {
		f.Add(strings.Replace(header, c.old, c.new, 1))
	}
	f.Fuzz(func(t *testing.T, json string) {
		m := withHeader(file, headerBytes, json)
		p, err := open(m, int64(len(m)), "fuzz.sflow")
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.sflow") {
				t.Errorf("got %v, want the file's name", err)
			}
			return
		}
		if err := p.verify(t.Context(), nil); err != nil {
			t.Logf("opens, but %v", err)
		}
	})
}

// hostile lists changes of tinyPack's header, and what the error must say.
func hostile() []struct{ old, new, want string } {
	return []struct{ old, new, want string }{
		{`\"layers\":1`, `\"layers\":9`, "layers"},
		{`\"layers\":1`, `\"layers\":4096`, "want more for 4096 layers"},
		{`\"layers\":1`, `\"layers\":-4096`, "layers"},
		{`\"layers\":1`, `\"depth\":1`, "sparseflow.profile"},
		{`\"layers\":1`, `\"layers\":1,\"kinds\":[{\"moe\":{\"experts\":4,\"top_k\":1,\"width\":8,\"router\":{\"kind\":\"softmax\"}}}]`, "experts"},
		{`\"ffn\":3`, `\"ffn\":9`, `want "layers.0.mlp.sketch" of U8 [9 32]`},
		{`\"ffn\":3`, `\"ffn\":1048576`, `want "layers.0.mlp.sketch" of U8 [1048576 32]`},
		{`\"vocab_size\":11`, `\"vocab_size\":-1`, "vocab_size"},
		{`\"hidden_size\":8`, `\"hidden_size\":0`, "hidden_size"},
		{`\"family\"`, `\"famlly\"`, "famlly"},
		{`{\"family`, `[{\"family`, "sparseflow.profile"},
		{`"sparseflow.profile":"`, `"sparseflow.profile":"{} `, "sparseflow.profile"},
		{`"512"`, `"511"`, "stride"},
		{`"512"`, `"8192"`, "stride"},
		{`"512"`, `"-512"`, "stride"},
		{`"512"`, `"9223372036854775807"`, "stride"},
		{`"512"`, `"x"`, "stride"},
		{`"sparseflow.dtype.attn":"F16"`, `"sparseflow.dtype.attn":"I99"`, "dtype"},
		{`"sparseflow.dtype.mlp":"F16"`, `"sparseflow.dtype.mlp":""`, "dtype"},
		{`"sparseflow.dtype.mlp":"F16"`, `"sparseflow.dtype.mlp":"Q8_0"`, "want F16"},
		{`"sparseflow.dtype.mlp":"F16"`, `"sparseflow.dtype.mlp":"Q4_K"`, "want F16"},
		{`"sparseflow.version":"2"`, `"sparseflow.version":"1"`, "sparseflow pack CHECKPOINT"},
		{`"sparseflow.version"`, `"sparseflow.Version"`, "is this a checkpoint?"},
		{`tokenizer/vocab.json`, `tokenizer/../../abcd`, "tokenizer"},
		{`"pad.0"`, `"pad.9"`, "belong to no tensor"},
		{`[1024]`, `[2,512]`, "crc.head"},
		{testSource, strings.Repeat("Z", 64), "hexadecimal"},
		{testSource, "", "hexadecimal"},
	}
}

// Every change of hostile is refused, and the error says why.
func TestHostileHeaders(t *testing.T) {
	path, file := tinyPack(t)
	headerBytes := int(mustOpen(t, path).tensors[0].Offset)
	header := strings.TrimRight(string(file[8:headerBytes]), " ")
	for _, c := range hostile() {
		changed := strings.Replace(header, c.old, c.new, 1)
		if changed == header {
			t.Fatalf("the header has no %s: %s", c.old, header)
		}
		m := withHeader(file, headerBytes, changed)
		if _, err := open(m, int64(len(m)), "x.sflow"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s: got %v, want an error with %q", c.old, c.new, err, c.want)
		}
	}
	m := withHeader(file, headerBytes, header)
	if _, err := open(m, int64(len(m)), "x.sflow"); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// Verify stops when it is told to, and tells how far it is.
func TestVerifyProgress(t *testing.T) {
	path, file := tinyPack(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Verify(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	var last int64
	err := Verify(context.Background(), path, func(done, total int64) {
		if done < last || total != int64(len(file)) {
			t.Errorf("got progress %d of %d after %d, want it to grow to %d", done, total, last, len(file))
		}
		last = done
	})
	if err != nil || last != int64(len(file)) {
		t.Errorf("got %v and progress %d, want %d", err, last, len(file))
	}
}
