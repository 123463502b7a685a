package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// A change of any single byte is found, wherever it is: by Open in what it reads
// (header, tables, crc.head), by Verify in all the rest, and never blamed on
// another place.
func TestFlipEveryByte(t *testing.T) {
	t.Parallel()
	const path = "flipped.sflow"
	_, file := tinyPack(t)
	m := memory(file)
	p, err := open(m, int64(len(m)), path)
	if err != nil {
		t.Fatal(err)
	}
	opened := func(i int64) bool {
		return i < p.tensors[0].Offset || i >= p.headOffset ||
			i >= p.blocksOffset && i < p.blocksOffset+4*int64(p.blocks) ||
			i >= p.bundlesOffset && i < p.bundlesOffset+4*p.profile.Neurons()
	}
	for i := range m {
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
	for n := range len(file) {
		if _, err := open(memory(file[:n]), int64(n), "cut.sflow"); err == nil || !strings.Contains(err.Error(), "cut.sflow") {
			t.Fatalf("%d of %d bytes: got %v, want an error that names the file", n, len(file), err)
		}
	}
	if _, err := open(memory(append(file, 0)), int64(len(file)+1), "long.sflow"); err == nil {
		t.Error("a byte more: got no error")
	}
}

// FuzzOpen opens packs whose header was changed and whose checksums were made
// to fit, so that only the checks of what the header says are left.
func FuzzOpen(f *testing.F) {
	path, file := tinyPack(f)
	p, err := Open(path)
	if err != nil {
		f.Fatal(err)
	}
	headerBytes := int(p.tensors[0].Offset)
	head := int(p.headOffset)
	p.Close()
	header := string(file[:headerBytes])
	f.Add(file[:headerBytes])
	for _, edit := range [][2]string{
		{`\"layers\":1`, `\"layers\":9`}, {`\"ffn\":3`, `\"ffn\":9`}, {`\"hidden_size\":8`, `\"hidden_size\":0`},
		{`\"vocab_size\":11`, `\"vocab_size\":-1`}, {`"512"`, `"511"`}, {`"512"`, `"999"`}, {`"F16"`, `"F99"`}, {`"F16"`, `"F32"`},
		{`"1"`, `"2"`}, {`tokenizer/vocab.json`, `tokenizer/../../abcd`}, {`pad.0`, `pad.1`}, {`[1024]`, `[4096]`},
		{`layers.0.mlp.bundles`, `layers.1.mlp.bundles`}, {testSource, strings.Repeat("Z", 64)},
	} {
		changed := strings.Replace(header, edit[0], edit[1], 1)
		if changed == header {
			f.Fatalf("the header has no %s: %s", edit[0], header)
		}
		f.Add([]byte(changed))
	}
	f.Fuzz(func(t *testing.T, h []byte) {
		changed := append(append([]byte{}, h...), file[headerBytes:]...)
		binary.LittleEndian.PutUint32(changed[len(h)+head-headerBytes:], checksum(h))
		at := filepath.Join(t.TempDir(), "fuzz.sflow")
		if err := os.WriteFile(at, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := Open(at)
		if err != nil {
			if !strings.Contains(err.Error(), at) {
				t.Errorf("got %v, want the file's name", err)
			}
			return
		}
		defer p.Close()
		// What opens can be read to its end without a panic.
		if err := Verify(t.Context(), at, nil); err != nil {
			t.Logf("opens, but %v", err)
		}
	})
}

// Every seed of FuzzOpen but the unchanged one is refused, and says why.
func TestHostileHeaders(t *testing.T) {
	path, file := tinyPack(t)
	p := mustOpen(t, path)
	headerBytes, head := int(p.tensors[0].Offset), int(p.headOffset)
	for _, c := range []struct{ old, new, want string }{
		{`\"layers\":1`, `\"layers\":9`, "layers"},
		{`\"layers\":1,\"heads\":2`, `\"layers\":4096,\"hea`, "sparseflow.profile"},
		{`\"ffn\":3`, `\"ffn\":9`, `want "layers.0.mlp.sketch" of U8 [9 32]`},
		{`\"vocab_size\":11`, `\"vocab_size\":-1`, "vocab_size"},
		{`\"family\"`, `\"famlly\"`, "famlly"},
		{`"512"`, `"999"`, "stride"},
		{`"512"`, `"-51"`, "stride"},
		{`"F16"`, `"I99"`, "dtype"},
		{`tokenizer/vocab.json`, `tokenizer/../../abcd`, "tokenizer"},
		{`"pad.0"`, `"pad.9"`, "pad.9"},
		{testSource, strings.Repeat("Z", 64), "hexadecimal"},
	} {
		h := strings.Replace(string(file[:headerBytes]), c.old, c.new, 1)
		h = h[:min(len(h), headerBytes)] + strings.Repeat(" ", max(0, headerBytes-len(h)))
		changed := append([]byte(h), file[headerBytes:]...)
		binary.LittleEndian.PutUint32(changed[head:], checksum([]byte(h)))
		at := filepath.Join(t.TempDir(), "hostile.sflow")
		if err := os.WriteFile(at, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s: got %v, want an error with %q", c.old, c.new, err, c.want)
		}
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
