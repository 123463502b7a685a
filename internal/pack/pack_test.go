package pack

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// drawProfile is any small valid model.
func drawProfile(t *rapid.T) config.ModelProfile {
	p := smallProfile()
	heads := rapid.IntRange(1, 4).Draw(t, "heads")
	p.Heads, p.KVHeads = heads, heads
	if rapid.Bool().Draw(t, "grouped") {
		p.KVHeads = 1
	}
	p.HiddenSize = heads * rapid.IntRange(1, 40).Draw(t, "headDim")
	p.EmbedDim = p.HiddenSize
	if rapid.Bool().Draw(t, "projected") {
		p.EmbedDim = p.HiddenSize + 1
	}
	p.Layers = rapid.IntRange(1, 3).Draw(t, "layers")
	p.FFN = rapid.IntRange(1, 40).Draw(t, "ffn")
	p.NeuronParts = rapid.IntRange(2, 3).Draw(t, "parts")
	p.VocabSize = rapid.SampledFrom([]int{3, 50, 9000}).Draw(t, "vocab")
	p.NormAffine = rapid.Bool().Draw(t, "affine")
	p.FinalNorm = rapid.Bool().Draw(t, "finalNorm")
	p.Bias = rapid.Bool().Draw(t, "bias")
	p.TiedHead = rapid.Bool().Draw(t, "tied")
	p.Activation = rapid.SampledFrom([]config.Activation{config.ReLU, config.GELU}).Draw(t, "activation")
	if rapid.Bool().Draw(t, "experts") {
		p = withExperts(p, rapid.IntRange(1, 5).Draw(t, "count"), rapid.IntRange(1, 90).Draw(t, "width"))
	}
	return p
}

// What was written is what is read, wherever it lies: by the layout's
// arithmetic, by the package's readers and by any safetensors reader.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dtypes := []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0, tensor.Q4_0}
		spec := Spec{
			Profile: drawProfile(rt), Name: "r", Attn: rapid.SampledFrom(dtypes).Draw(rt, "attn"),
			MLP: rapid.SampledFrom(dtypes).Draw(rt, "mlp"), Align: rapid.SampledFrom([]int64{0, 512, 4096}).Draw(rt, "align"),
			Tokenizer: map[string][]byte{"vocab.json": []byte("{}")},
		}
		if rapid.Bool().Draw(rt, "blocks") { // rows that quantised types fill
			spec.Profile.HiddenSize = 32 * spec.Profile.Heads
		}
		spec.MLP = spec.MLP.OfRow(spec.Profile.HiddenSize)
		path, want := makePack(t, spec)
		p := mustOpen(t, path)
		if err := Verify(context.Background(), path, nil); err != nil {
			rt.Fatal(err)
		}
		if got := p.Profile(); asJSON(t, got) != asJSON(t, spec.Profile) {
			rt.Fatalf("profile: got %+v, want %+v", got, spec.Profile)
		}
		if p.AttnDType() != spec.Attn || p.MLPDType() != spec.MLP || p.SourceSHA256() != testSource || p.Name() != "r" {
			rt.Fatalf("metadata: got %v %v %s %s", p.AttnDType(), p.MLPDType(), p.SourceSHA256(), p.Name())
		}
		file, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		checkFile(rt, p, file, want)
		if spec.Align == 0 {
			spec.Align = p.BundleStride() & -p.BundleStride()
			spec.Align = min(spec.Align, pageBytes)
		}
		if l, err := spec.Layout(); err != nil || l.Size() != p.Size() {
			rt.Fatalf("Spec.Layout: got %+v, %v, want a size of %d", l, err, p.Size())
		}
	})
}

// checkFile compares every part of the file with what was written.
func checkFile(t *rapid.T, p *Pack, file []byte, want contents) {
	if int64(len(file)) != p.Size() || p.Size()%4096 != 0 {
		t.Fatalf("size: got %d and %d, want one multiple of 4096", len(file), p.Size())
	}
	weights := int64(0)
	for _, x := range p.Tensors() {
		if x.Offset%4096 != 0 {
			t.Fatalf("%s: got offset %d, want a multiple of 4096", x.Name, x.Offset)
		}
		if x.Kind == Tokenizer {
			continue // not part of contents
		}
		got, err := p.ReadTensor(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.tensors[x.Name]) || !bytes.Equal(got, file[x.Offset:x.Offset+x.Bytes()]) {
			t.Fatalf("%s: what is read differs from what was written", x.Name)
		}
		if x.Kind != Sketch {
			weights += x.Bytes()
		}
	}
	stride := p.BundleStride()
	for at, b := range want.bundles {
		off := p.BundleOffset(at[0], at[1])
		got := file[off : off+stride]
		if off%512 != 0 || !bytes.Equal(got[:p.BundleBytes()], b) || len(bytes.Trim(got[p.BundleBytes():], "\x00")) > 0 {
			t.Fatalf("bundle %v at %d: what is read differs from what was written", at, off)
		}
		if err := p.CheckBundle(at[0], at[1], got); err != nil {
			t.Fatal(err)
		}
		weights += stride
	}
	for at, b := range want.experts {
		layer, e, parts := at[0], at[1], p.ExpertParts(at[0])
		off, stride := p.ExpertOffset(layer, 0, e), p.ExpertStride(layer)
		got := file[off : off+stride]
		if off%4096 != 0 || !bytes.Equal(got[:len(b)], b) || len(bytes.Trim(got[len(b):], "\x00")) > 0 {
			t.Fatalf("expert %v at %d: what is read differs from what was written", at, off)
		}
		if p.ExpertOffset(layer, 1, e) != off+parts[0].Bytes() || p.ExpertOffset(layer, 2, e)+parts[2].Bytes() != off+int64(len(b)) {
			t.Fatalf("expert %v at %d: got parts at %d and %d, want them one after the other", at, off, p.ExpertOffset(layer, 1, e), p.ExpertOffset(layer, 2, e))
		}
		if err := p.CheckExpert(layer, e, got); err != nil {
			t.Fatal(err)
		}
		weights += int64(len(b))
	}
	if p.WeightBytes() != weights {
		t.Fatalf("WeightBytes: got %d, want %d", p.WeightBytes(), weights)
	}
	if p.BundleOffset(0, 0)%4096 != 0 {
		t.Fatalf("first bundle: got offset %d, want a multiple of 4096", p.BundleOffset(0, 0))
	}
}

// Any safetensors reader sees the documented names.
func TestSafetensorsNames(t *testing.T) {
	path, _ := makePack(t, smallSpec())
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	h, err := source.ParseSafetensors(f, info.Size(), path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range h.Entries {
		if !strings.HasPrefix(e.Name, padPrefix) && !strings.HasPrefix(e.Name, "layers.1.") {
			got = append(got, fmt.Sprintf("%s %s %v", e.Name, e.DType, e.Shape))
		}
	}
	want := []string{
		"embed.tokens F16 [11 4]", "embed.positions F16 [7 8]", "project.in F16 [8 4]", "project.out F16 [4 8]",
		"final_norm.weight F32 [8]", "final_norm.bias F32 [8]", "head F16 [11 4]",
		"layers.0.attn_norm.weight F32 [8]", "layers.0.attn_norm.bias F32 [8]",
		"layers.0.attn.q.weight F16 [8 8]", "layers.0.attn.q.bias F32 [8]",
		"layers.0.attn.k.weight F16 [8 8]", "layers.0.attn.k.bias F32 [8]",
		"layers.0.attn.v.weight F16 [8 8]", "layers.0.attn.v.bias F32 [8]",
		"layers.0.attn.o.weight F16 [8 8]", "layers.0.attn.o.bias F32 [8]",
		"layers.0.mlp_norm.weight F32 [8]", "layers.0.mlp_norm.bias F32 [8]",
		"layers.0.mlp.up.bias F32 [3]", "layers.0.mlp.down.bias F32 [8]",
		"layers.0.mlp.sketch U8 [3 32]", "layers.0.mlp.sketch_scale F32 [3]",
		"tokenizer/vocab.json U8 [7]", "tokenizer/merges.txt U8 [14]",
		"crc.blocks U32 [41]", "crc.bundles U32 [2 3]", "layers.0.mlp.bundles U8 [3 512]", "crc.head U32 [1024]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tensors:\ngot  %q\nwant %q", got, want)
	}
	for key, want := range map[string]string{keyVersion: "2", keyName: "small", keySource: testSource,
		keyAttn: "F16", keyMLP: "BF16", keyStride: "512", keyProfile: asJSON(t, smallProfile())} {
		if h.Metadata[key] != want {
			t.Errorf("metadata %s: got %q, want %q", key, h.Metadata[key], want)
		}
	}
}

// The tokenizer's files are an ordinary read-only directory.
func TestTokenizer(t *testing.T) {
	path, _ := makePack(t, smallSpec())
	tok := mustOpen(t, path).Tokenizer()
	if err := fstest.TestFS(tok, "vocab.json", "merges.txt"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(tok, "vocab.json"); err != nil || string(b) != `{"a":0}` {
		t.Errorf("vocab.json: got %q, %v", b, err)
	}
	if _, err := fs.Stat(tok, "tokenizer.json"); !os.IsNotExist(err) {
		t.Errorf("tokenizer.json: got %v, want that it does not exist", err)
	}
}

// Vectors come as numbers, and only vectors do.
func TestReadVector(t *testing.T) {
	path, want := makePack(t, smallSpec())
	p := mustOpen(t, path)
	const name = "layers.1.mlp.up.bias"
	got, err := p.ReadVector(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4*len(got))
	tensor.Encode(b, got, tensor.F32)
	if !bytes.Equal(b, want.tensors[name]) {
		t.Errorf("%s: got %v, want %v", name, b, want.tensors[name])
	}
	for _, name := range []string{"embed.tokens", "nothing"} {
		if _, err := p.ReadVector(name); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

// Blocks are at most 1 MiB of whole rows, or one row.
func TestBlocks(t *testing.T) {
	p := smallProfile()
	p.VocabSize, p.EmbedDim, p.HiddenSize, p.Heads, p.KVHeads = 1000, 8, 800_000, 1, 1
	spec := smallSpec()
	spec.Profile, spec.Align = p, 512
	l, err := spec.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range l.tensors {
		rows := 0
		for b := range x.Blocks() {
			row, n := x.Block(b)
			if row != rows || n < 1 || int64(n)*x.RowBytes > 1<<20 && n > 1 {
				t.Fatalf("%s, block %d: got rows %d to %d of %d bytes", x.Name, b, row, row+n, x.RowBytes)
			}
			rows += n
		}
		if rows != x.Rows {
			t.Errorf("%s: got blocks of %d rows, want %d", x.Name, rows, x.Rows)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	notPack := filepath.Join(dir, "model.safetensors")
	h, err := source.BuildHeader(nil, nil, 8)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notPack, h, 0o666); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.sflow")
	h, err = source.BuildHeader(map[string]string{keyVersion: "3"}, nil, 8)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(newer, h, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.sflow"): "no such file",
		dir:                                 "want a regular file",
		notPack:                             "is this a checkpoint?",
		newer:                               "sparseflow pack CHECKPOINT",
	} {
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): got %v, want the path and %q", path, err, want)
		}
	}
}

// Quantised matrices are bytes to safetensors; rows that blocks do not fill are
// float16, and bundles of such rows are refused.
func TestQuantisedLayout(t *testing.T) {
	p := smallProfile()
	p.Heads, p.KVHeads, p.HiddenSize, p.EmbedDim = 2, 2, 64, 48
	l, err := Spec{Profile: p, Attn: tensor.Q8_0, MLP: tensor.Q4_0}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name     string
		elem     tensor.DType
		dtype    string
		rowBytes int64
	}{
		{"embed.tokens", tensor.F16, "F16", 96},
		{"project.in", tensor.F16, "F16", 96},
		{"project.out", tensor.Q8_0, "U8", 68},
		{"layers.0.attn.q.weight", tensor.Q8_0, "U8", 68},
		{"layers.0.attn.q.bias", tensor.F32, "F32", 256},
	} {
		i := slices.IndexFunc(l.tensors, func(x Tensor) bool { return x.Name == want.name })
		if i < 0 {
			t.Fatalf("%s: got none", want.name)
		}
		if x := l.tensors[i]; x.Elem != want.elem || x.DType != want.dtype || x.RowBytes != want.rowBytes {
			t.Errorf("%s: got %v %s, rows of %d bytes, want %v", want.name, x.Elem, x.DType, x.RowBytes, want)
		}
		for _, e := range l.entries {
			if e.Name == want.name && want.dtype == "U8" && e.Shape[1] != want.rowBytes {
				t.Errorf("%s: got shape %v, want rows of %d", e.Name, e.Shape, want.rowBytes)
			}
		}
	}
	if l.BundleBytes() != 2*36 {
		t.Errorf("bundles: got %d bytes, want 72", l.BundleBytes())
	}
	p.HiddenSize = 60
	if _, err := (Spec{Profile: p, Attn: tensor.Q8_0, MLP: tensor.Q8_0}).Layout(); err == nil || !strings.Contains(err.Error(), "want F16") {
		t.Errorf("bundles of 60 elements: got %v, want an error", err)
	}

	// Super blocks are for matrices.
	for d, want := range map[tensor.DType]tensor.DType{tensor.Q4_K: tensor.Q4_0, tensor.Q6_K: tensor.Q8_0, tensor.Q5_0: tensor.Q8_0, tensor.BF16: tensor.BF16} {
		if got := BundleType(d, 512); got != want {
			t.Errorf("bundles of %v: got %v, want %v", d, got, want)
		}
	}

	// OPT-6.7B's bundles fill whole sectors.
	p.HiddenSize, p.EmbedDim = 4096, 4096
	for d, want := range map[tensor.DType]int64{tensor.Q8_0: 2 * 4352, tensor.Q4_0: 2 * 2304} {
		l, err := Spec{Profile: p, Attn: d, MLP: d}.Layout()
		if err != nil || l.BundleBytes() != want || l.BundleStride() != want {
			t.Errorf("%v: got bundles of %d at %d, %v, want %d", d, l.BundleBytes(), l.BundleStride(), err, want)
		}
	}
}
