package convert

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goldenDir holds checkpoints written by the reference implementation.
const goldenDir = "../../testdata/opt"

// values reads a whole tensor of a checkpoint as numbers.
func values(t *testing.T, x *source.Tensor) []float32 {
	t.Helper()
	b := make([]byte, x.Bytes())
	if _, err := x.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(b)/x.DType.BlockBytes()*x.DType.BlockElems())
	tensor.Decode(v, b, x.DType)
	return v
}

// encoded is values as another element type holds them.
func encoded(v []float32, d tensor.DType) []byte {
	b := make([]byte, d.RowBytes(len(v)))
	tensor.Encode(b, v, d)
	return b
}

// checkPack compares a pack with what the definition makes of the checkpoint,
// one neuron and one tensor at a time.
func checkPack(t *testing.T, dir, path string) {
	t.Helper()
	if err := pack.Verify(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := source.Open(os.DirFS(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := arch.Map(c, p.Profile(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range p.Tensors() {
		if x.Kind != pack.Matrix && x.Kind != pack.Vector {
			continue
		}
		got, err := p.ReadTensor(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, encoded(values(t, m.Resident[x.Name]), x.Elem)) {
			t.Errorf("%s: got other values than the checkpoint's", x.Name)
		}
	}
	for l := range m.Layers {
		checkLayer(t, p, m.Layers[l], l)
	}
	for l := range m.Experts {
		checkExperts(t, p, m.Experts[l], l)
	}
}

func checkLayer(t *testing.T, p *pack.Pack, from arch.Neurons, l int) {
	t.Helper()
	down := values(t, from.Down)
	d, ffn := p.Profile().HiddenSize, p.Profile().FFN
	rows := map[*source.Tensor][]float32{}
	for _, part := range from.Parts() {
		rows[part] = values(t, part)
	}
	file, err := os.ReadFile(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	var sketch, scales []byte
	for i := range ffn {
		var want []byte
		for _, part := range from.Parts()[:p.Profile().NeuronParts-1] {
			want = append(want, encoded(rows[part][i*d:(i+1)*d], p.MLPDType())...)
		}
		row, column := make([]float32, d), make([]float32, d)
		for r := range d {
			column[r] = down[r*ffn+i]
		}
		want = append(want, encoded(column, p.MLPDType())...)
		if got := file[p.BundleOffset(l, i):][:p.BundleBytes()]; !bytes.Equal(got, want) {
			t.Fatalf("layer %d, neuron %d: got other weights than the checkpoint's", l, i)
		}
		tensor.Decode(row, want, p.MLPDType())
		s := make([]byte, pack.SketchBytes(d))
		scales = append(scales, encoded([]float32{pack.PackSketch(s, row)}, tensor.F32)...)
		sketch = append(sketch, s...)
	}
	prefix := "layers." + strconv.Itoa(l) + ".mlp."
	if _, ok := p.Tensor(prefix + "sketch"); ok != p.Profile().Sparse() {
		t.Fatalf("layer %d: got a sketch: %v, want it if the model is sparse: %v", l, ok, p.Profile().Sparse())
	}
	for name, want := range map[string][]byte{"sketch": sketch, "sketch_scale": scales} {
		if !p.Profile().Sparse() {
			continue
		}
		if got, err := p.ReadTensor(prefix + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s%s: got %d bytes that differ, %v", prefix, name, len(got), err)
		}
	}
}

// Every golden checkpoint becomes the pack that the definition makes of it, as
// stored and narrowed.
func TestGolden(t *testing.T) {
	dirs, err := os.ReadDir(goldenDir)
	if err != nil || len(dirs) != 9 {
		t.Fatalf("got %d checkpoints in %s, %v, want 9", len(dirs), goldenDir, err)
	}
	stored := map[string]tensor.DType{"odd-sizes": tensor.BF16, "post-norm-proj": tensor.F16, "sharded": tensor.F16, "pytorch-bin": tensor.F16}
	for _, e := range dirs {
		for _, o := range []Options{{}, {Attn: BF16, MLP: F16}, {Attn: F16, MLP: F32}, {Attn: Q8_0, MLP: Q4_0}, {Attn: Q4_0, MLP: Q8_0}} {
			dir, path := filepath.Join(goldenDir, e.Name()), filepath.Join(t.TempDir(), "m.sflow")
			r, err := Convert(t.Context(), os.DirFS(dir), dir, path, o)
			if err != nil {
				t.Fatal(err)
			}
			if want := notices(e.Name(), o); !slices.Equal(r.Notices, want) {
				t.Errorf("%s: got notices %q, want %q", e.Name(), r.Notices, want)
			}
			if o.Attn == "" && (r.MLP != stored[e.Name()] || r.Attn != stored[e.Name()]) {
				t.Errorf("%s: got %v and %v, want %v as stored", e.Name(), r.Attn, r.MLP, stored[e.Name()])
			}
			if info, err := os.Stat(path); err != nil || info.Size() != r.Bytes {
				t.Errorf("%s: got %d bytes, want %d", e.Name(), r.Bytes, info.Size())
			}
			checkPack(t, dir, path)
		}
	}
}

// notices are what a golden checkpoint's rows give rise to: two of the
// checkpoints have rows that blocks do not fill.
func notices(name string, o Options) []string {
	switch q := o.Attn; {
	case q != Q8_0 && q != Q4_0:
		return nil
	case name == "odd-sizes":
		return []string{
			"matrices with rows of 60 elements are F16 in place of " + strings.ToUpper(string(q)),
			"neurons with rows of 60 elements are F16 in place of " + strings.ToUpper(string(o.MLP)),
		}
	case name == "post-norm-proj":
		return []string{"matrices with rows of 48 elements are F16 in place of " + strings.ToUpper(string(q))}
	}
	return nil
}

// Layers whose fc2 exceeds the strips: several units, and in float32 several
// strips a unit.
func TestStrips(t *testing.T) {
	for i, c := range []struct {
		stored tensor.DType
		layers int
		o      Options
	}{{tensor.F16, 2, Options{}}, {tensor.F16, 1, Options{MLP: BF16}}, {tensor.F32, 1, Options{}}, {tensor.F32, 1, Options{MLP: Q8_0}}} {
		if testing.Short() && i%3 != 0 {
			continue // both stored types, and both kinds of result
		}
		dir, path := filepath.Join(t.TempDir(), "m"), filepath.Join(t.TempDir(), "m.sflow")
		randomOPT{vocab: 50, d: 96, layers: c.layers, heads: 4, ffn: 45_000, positions: 10, dtype: c.stored, shards: 2, bare: true}.write(t, dir)
		var last, total int64
		c.o.Progress = func(what string, done, all int64) {
			if done <= last || what == "" {
				t.Errorf("progress: got %q %d after %d, want it to grow", what, done, last)
			}
			last, total = done, all
		}
		if _, err := Convert(t.Context(), os.DirFS(dir), dir, path, c.o); err != nil {
			t.Fatal(err)
		}
		p, err := pack.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if last != total || total != p.WeightBytes() {
			t.Errorf("progress: got %d of %d, want both %d", last, total, p.WeightBytes())
		}
		p.Close()
		checkPack(t, dir, path)
	}
}

// All that a conversion ever allocates stays below its bound, for a model of
// several times that.
func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	randomOPT{vocab: 2000, d: 512, layers: 4, heads: 8, ffn: 4096, positions: 64, dtype: tensor.F32}.write(t, dir)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Convert(t.Context(), os.DirFS(dir), dir, filepath.Join(t.TempDir(), "m.sflow"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	got := int64(after.TotalAlloc - before.TotalAlloc)
	t.Logf("%d bytes allocated for a pack of %d", got, r.Bytes)
	if got > 18<<20 || r.Bytes < 3*got {
		t.Errorf("got %d bytes allocated for a pack of %d, want at most 18 MiB and a pack of 3 times that", got, r.Bytes)
	}
}

// A conversion that is cancelled at any time ends soon and leaves nothing.
func TestCancel(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "m"), t.TempDir()
	randomOPT{vocab: 500, d: 256, layers: 3, heads: 4, ffn: 2048, positions: 64, dtype: tensor.F16}.write(t, dir)
	for n := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		calls := 0
		_, err := Convert(ctx, os.DirFS(dir), dir, filepath.Join(out, "m.sflow"), Options{Progress: func(string, int64, int64) {
			if calls++; calls == 1+4*n {
				cancel()
				at = time.Now()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at call %d: got %v, want %v", 1+4*n, err, context.Canceled)
		}
		if late := time.Since(at); late > 2*time.Second {
			t.Errorf("got an end %v after the cancellation", late)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Fatalf("got files %v, %v, want none", left, err)
		}
	}
}

// Bad checkpoints are refused by an error that names what is wrong where, and
// leave nothing.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		o      Options
		want   []string
	}{
		"no config":  {func(t *testing.T, dir string) { remove(t, dir, "config.json") }, Options{}, []string{"config.json", "no such file"}},
		"no weights": {func(t *testing.T, dir string) { remove(t, dir, "model.safetensors") }, Options{}, []string{"model.safetensors"}},
		"another ffn": {func(t *testing.T, dir string) { edit(t, dir, "config.json", `"ffn_dim": 24`, `"ffn_dim": 32`) }, Options{},
			[]string{"fc1.bias", "got shape [24], want [32]"}},
		"another type": {func(t *testing.T, dir string) { edit(t, dir, "config.json", `"opt"`, `"llamo"`) }, Options{}, []string{"model_type", "llamo"}},
		"NaN in fc1":   {poison("layers.1.fc1.weight", 0x7fc00000), Options{}, []string{"layers.1.fc1.weight", "NaN"}},
		"NaN in fc2":   {poison("layers.0.fc2.weight", 0x7fc00000), Options{MLP: F16}, []string{"layers.0.fc2.weight", "NaN"}},
		"Inf in a norm": {poison("final_layer_norm.bias", 0x7f800000), Options{},
			[]string{"final_layer_norm.bias", "+Inf"}},
		"too large for f16": {poison("layers.1.self_attn.k_proj.weight", 0x48000000), Options{Attn: F16},
			[]string{"k_proj.weight", "131072", "overflows F16"}},
		"NaN to be quantised": {poison("layers.1.fc1.weight", 0x7fc00000), Options{MLP: Q8_0}, []string{"layers.1.fc1.weight", "NaN", "want finite"}},
		"Inf to be quantised": {poison("layers.0.fc2.weight", 0xff800000), Options{MLP: Q4_0}, []string{"layers.0.fc2.weight", "-Inf", "want finite"}},
		"Inf in a matrix":     {poison("layers.0.self_attn.q_proj.weight", 0x7f800000), Options{Attn: Q4_0}, []string{"q_proj.weight", "+Inf", "want finite"}},
		"too large for q8_0":  {poison("embed_tokens.weight", 0x4b800000), Options{Attn: Q8_0}, []string{"embed_tokens.weight", "1.6777216e+07", "overflows Q8_0"}},
		"bad quant":           {func(*testing.T, string) {}, Options{MLP: "q9"}, []string{"q9", "want one of keep, f32, f16, bf16, q8_0"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, out := filepath.Join(t.TempDir(), "m"), t.TempDir()
			randomOPT{vocab: 20, d: 32, layers: 2, heads: 2, ffn: 24, positions: 10, dtype: tensor.F32}.write(t, dir)
			c.change(t, dir)
			_, err := Convert(t.Context(), os.DirFS(dir), dir, filepath.Join(out, "m.sflow"), c.o)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want an error with %q", err, w)
				}
			}
			if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
				t.Errorf("got files %v, %v, want none", left, err)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, dir, name, from, to string) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(from)) {
		t.Fatalf("%s: %v, want %s in it", path, err, from)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o666); err != nil {
		t.Fatal(err)
	}
}

// poison sets the last element of an F32 tensor to a bit pattern.
func poison(tensorName string, bits uint32) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, "model.safetensors"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, _ := f.Stat()
		h, err := source.ParseSafetensors(f, info.Size(), f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range h.Entries {
			if strings.TrimPrefix(e.Name, "model.decoder.") == tensorName {
				b := []byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)}
				if _, err := f.WriteAt(b, e.Offset+e.Bytes-4); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("got no tensor %s", tensorName)
	}
}

// A head of its own beside a tied embedding does not count, as in the reference
// implementation, but is told of; one that is equal is not worth a word.
func TestTiedModelWithAHead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldenDir, "untied"))); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "config.json", `"tie_word_embeddings": false`, `"tie_word_embeddings": true`)
	notices := func() string {
		t.Helper()
		r, err := Convert(t.Context(), os.DirFS(dir), dir, filepath.Join(t.TempDir(), "m.sflow"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Profile.TiedHead {
			t.Error("got an untied head, want it tied")
		}
		return strings.Join(r.Notices, "\n")
	}
	if got := notices(); !strings.Contains(got, "the stored lm_head.weight differs from the token embedding") {
		t.Errorf("another head: got notices %q, want it told", got)
	}
	// The embedding's bytes in the head's place.
	path := filepath.Join(dir, "model.safetensors")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := source.ParseSafetensors(bytes.NewReader(b), int64(len(b)), path)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]source.SafetensorsEntry{}
	for _, e := range h.Entries {
		at[e.Name] = e
	}
	head, embed := at["lm_head.weight"], at["model.decoder.embed_tokens.weight"]
	if copy(b[head.Offset:][:head.Bytes], b[embed.Offset:]) == 0 {
		t.Fatalf("got entries %+v and %+v", head, embed)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := notices(); strings.Contains(got, "lm_head") {
		t.Errorf("an equal head: got notices %q, want none of it", got)
	}
}
