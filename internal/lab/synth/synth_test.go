package synth

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sparseflow/sparseflow/internal/arch"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/pack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a model that takes a moment to make.
func small() Options {
	return Options{Profile: Sizes{Hidden: 64, Layers: 3, Heads: 4, FFN: 256, Vocab: 300, Context: 40}.Profile(), Seed: 9}
}

// contents is what a directory's files hold, by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

func TestWriteDirDeterministic(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	write := func(name string, o Options) map[string]string {
		t.Helper()
		path := filepath.Join(dir, name)
		n, err := WriteDir(ctx, path, o)
		if err != nil {
			t.Fatal(err)
		}
		files, total := contents(t, path), int64(0)
		for _, b := range files {
			total += int64(len(b))
		}
		if total != n || len(files) != 2 {
			t.Fatalf("%s: got %d files of %d bytes, want 2 of %d", name, len(files), total, n)
		}
		return files
	}
	o := small()
	o.Threads = 1
	first := write("one", o)
	o.Threads = 3
	if second := write("three", o); second["model.safetensors"] != first["model.safetensors"] || second["config.json"] != first["config.json"] {
		t.Error("three threads made other bytes than one")
	}
	o.Seed++
	if other := write("seed", o); other["model.safetensors"] == first["model.safetensors"] {
		t.Error("another seed made the same weights")
	}
	o.Active = 0.05
	p, err := arch.ProfileFromTransformers([]byte(write("active", o)["config.json"]))
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0
	for _, share := range p.ActiveShares {
		mean += share / float64(o.Profile.Layers)
	}
	if math.Abs(mean-o.Active) > 1e-9 {
		t.Errorf("got %v active by the config.json, want %v on average", p.ActiveShares, o.Active)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("got %v, %v, want the 4 directories alone", entries, err)
	}
}

// A pack made directly is what packing the directory gives, in every element
// type.
func TestPackEqualsPackedDirectory(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		attn, mlp convert.Quant
	}{{"", ""}, {convert.F16, convert.F32}, {convert.Q8_0, convert.Q4_0}} {
		dir, o := t.TempDir(), small()
		if _, err := WriteDir(ctx, filepath.Join(dir, "m"), o); err != nil {
			t.Fatal(err)
		}
		how := convert.Options{Attn: c.attn, MLP: c.mlp, Name: "m"}
		want, err := convert.Convert(ctx, os.DirFS(filepath.Join(dir, "m")), "m", filepath.Join(dir, "want.sflow"), how)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Pack(ctx, filepath.Join(dir, "got.sflow"), o, how)
		if err != nil {
			t.Fatal(err)
		}
		if got.SourceSHA256 != want.SourceSHA256 {
			t.Errorf("%+v: got source hash %s, want %s", c, got.SourceSHA256, want.SourceSHA256)
		}
		a, err := os.ReadFile(filepath.Join(dir, "want.sflow"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "got.sflow")); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%+v: the packs differ (%v)", c, err)
		}
		p, err := pack.Open(filepath.Join(dir, "got.sflow"))
		if err != nil {
			t.Fatal(err)
		}
		if !p.Profile().Synthetic {
			t.Error("the pack does not say that it is synthetic")
		}
		if err := errors.Join(p.Close(), pack.Verify(ctx, p.Path(), nil)); err != nil {
			t.Error(err)
		}
	}
}

// The virtual directory is a file system by the rules of fs.FS; layers come in
// order alone.
func TestSource(t *testing.T) {
	s, err := newSource(context.Background(), small())
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	defer s.close()
	all := make([]byte, s.bytes)
	if n, err := s.ReadAt(all, 0); int64(n) != s.bytes || err != nil {
		t.Fatalf("got %d bytes, %v, want %d", n, err, s.bytes)
	}
	// Pieces of the embeddings, which are drawn anew, at odd offsets.
	for _, off := range []int64{0, 1, int64(len(s.head)) - 3, int64(len(s.head)) + 127, 20_001} {
		p := make([]byte, 999)
		if n, err := s.ReadAt(p, off); n != len(p) || err != nil || !bytes.Equal(p, all[off:off+999]) {
			t.Errorf("offset %d: got %d bytes, %v, or other bytes than in order", off, n, err)
		}
	}
	first := s.tensors[4]
	if first.layer != 0 {
		t.Fatalf("got layer %d, want the first", first.layer)
	}
	if _, err := s.ReadAt(make([]byte, 8), first.offset); err == nil || !strings.Contains(err.Error(), "layers in order") {
		t.Errorf("the first layer after the last: got error %v", err)
	}
	if _, err := s.Open("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got error %v", err)
	}
	if b, err := fs.ReadFile(s, "config.json"); err != nil || !bytes.Contains(b, []byte(`"sparseflow_synthetic": true`)) {
		t.Errorf("config.json: got %s, %v", b, err)
	}
}

// Models too small to have any statistics are models all the same.
func TestDegenerate(t *testing.T) {
	for _, sizes := range []Sizes{
		{Hidden: 33, Layers: 1, Heads: 3, FFN: 40, Vocab: 3, Context: 1},
		{Hidden: 32, Layers: 2, Heads: 1, FFN: 1, Vocab: 50, Context: 5},
	} {
		path := filepath.Join(t.TempDir(), "m.sflow")
		// Packing refuses weights that are not finite.
		if _, err := Pack(context.Background(), path, Options{Profile: sizes.Profile()}, convert.Options{Name: "m"}); err != nil {
			t.Errorf("%+v: %v", sizes, err)
		}
	}
}

// A cancelled run leaves nothing.
func TestCancelled(t *testing.T) {
	for _, kind := range []string{"directory", "pack"} {
		dir, o := t.TempDir(), small()
		ctx, cancel := context.WithCancel(context.Background())
		o.Progress = func(string, int64, int64) {
			cancel() // at the first
		}
		var err error
		if kind == "pack" {
			_, err = Pack(ctx, filepath.Join(dir, "m.sflow"), o, convert.Options{Name: "m"})
		} else {
			_, err = WriteDir(ctx, filepath.Join(dir, "m"), o)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v, want that it was cancelled", kind, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: left %v, %v", kind, entries, err)
		}
		cancel()
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Options)) Options {
		o := small()
		change(&o)
		return o
	}
	for want, o := range map[string]Options{
		"synth: write " + dir + ": got a directory with 1 entries, want none or an empty one": small(),
		"synth: active share: got 50 %, want 0.2 % to 20 %":                                   with(func(o *Options) { o.Active = 0.5 }),
		"synth: hidden size: got 16, want at least 32":                                        with(func(o *Options) { o.Profile.HiddenSize = 16 }),
		"synth: config: profile: got 5 heads, want a divisor of the hidden size 64":           with(func(o *Options) { o.Profile.Heads = 5 }),
	} {
		if _, err := WriteDir(context.Background(), dir, o); err == nil || err.Error() != want {
			t.Errorf("got error %v\nwant %s", err, want)
		}
	}
	if _, err := Published("opt-6.6b"); err == nil || !strings.Contains(err.Error(), "did you mean opt-6.7b?") {
		t.Errorf("a misspelt shape: got %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "precious")); err != nil || string(b) != "x" {
		t.Errorf("got %q, %v: a refusal changed the directory", b, err)
	}
}
