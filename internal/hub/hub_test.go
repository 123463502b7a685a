package hub

import (
	"encoding/binary"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sparseflow/sparseflow/internal/source/gguf"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// packHeader is the start of a pack as package pack writes it.
func packHeader(metadata string) string {
	h := `{"__metadata__":` + metadata + `,"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(h)))) + h
}

const metadataOfDrawn = `{"sparseflow.version":"1","sparseflow.name":"drawn","sparseflow.profile":"{\"family\":\"opt\",\"synthetic\":true}"}`

const metadataOfBig = `{"sparseflow.version":"1","sparseflow.name":"big","sparseflow.profile":"{\"family\":\"opt\"}"}`

// home makes an empty machine: nothing of the real one is seen.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "TRANSFORMERS_CACHE"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", dir)
	t.Chdir(dir)
	return dir
}

// snapshot puts a model into a hub cache as huggingface_hub does: files are
// links into blobs.
func snapshot(t *testing.T, cache, id, config string) string {
	t.Helper()
	repo := filepath.Join(cache, "models--"+strings.ReplaceAll(id, "/", "--"))
	write(t, filepath.Join(repo, "refs", "main"), "abc123")
	write(t, filepath.Join(repo, "blobs", "b1"), config)
	dir := filepath.Join(repo, "snapshots", "abc123")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..", "..", "blobs", "b1"), filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := home(t)
	cache := filepath.Join(dir, ".cache", "huggingface", "hub")
	snap := snapshot(t, cache, "facebook/opt-125m", `{"model_type":"opt"}`)
	shadow := snapshot(t, cache, "org/shadow", `{"model_type":"opt"}`)
	write(t, filepath.Join(dir, "models", "mine", "config.json"), "{}")
	write(t, filepath.Join(dir, "tiny", "config.json"), "{}")
	write(t, filepath.Join(dir, "org", "here", "config.json"), "{}")
	write(t, filepath.Join(dir, "org", "shadow", "notes.txt"), "") // no checkpoint
	write(t, filepath.Join(dir, "a.sflow"), "whatever")
	write(t, filepath.Join(dir, "other.bin"), packHeader(metadataOfBig))
	for model, want := range map[string]Source{
		"tiny":                               {Kind: Checkpoint, Name: "tiny", Path: "tiny"},
		"./tiny":                             {Kind: Checkpoint, Name: "tiny", Path: filepath.Join(dir, "tiny")},
		"models/mine":                        {Kind: Checkpoint, Name: "mine", Path: filepath.Join(dir, "models", "mine")},
		filepath.Join(dir, "models", "mine"): {Kind: Checkpoint, Name: "mine", Path: filepath.Join(dir, "models", "mine")},
		"org/here":                           {Kind: Checkpoint, Name: "here", Path: filepath.Join(dir, "org", "here")},
		"facebook/opt-125m":                  {Kind: Checkpoint, Name: "facebook/opt-125m", Path: snap},
		"org/shadow":                         {Kind: Checkpoint, Name: "org/shadow", Path: shadow},
		"a.sflow":                            {Kind: Pack, Name: "a", Path: filepath.Join(dir, "a.sflow")},
		"other.bin":                          {Kind: Pack, Name: "big", Path: filepath.Join(dir, "other.bin")},
	} {
		got, err := Find(model)
		if err != nil {
			t.Errorf("%s: %v", model, err)
			continue
		}
		if got.Kind == Checkpoint {
			if _, err := fs.Stat(got.FS, "config.json"); err != nil {
				t.Errorf("%s: %v", model, err)
			}
		}
		got.FS = nil
		if got != want {
			t.Errorf("%s: got %+v, want %+v", model, got, want)
		}
	}
}

// Errors say what was looked for and where.
func TestFindErrors(t *testing.T) {
	dir := home(t)
	cache := filepath.Join(dir, "cache")
	t.Setenv("HF_HUB_CACHE", cache)
	write(t, filepath.Join(dir, "empty", "x"), "")
	write(t, filepath.Join(dir, "model", "config.json"), "{}")
	write(t, filepath.Join(dir, "model", "model.safetensors"), packHeader(`{"format":"pt"}`))
	write(t, filepath.Join(cache, "models--org--half", "refs", "main"), "gone")
	write(t, filepath.Join(cache, "models--org--bare", "snapshots", "r1", "x"), "")
	write(t, filepath.Join(cache, "models--org--evil", "refs", "main"), "../../..")
	for model, want := range map[string][]string{
		"":          {"empty model name"},
		"nothing":   {"no such model", filepath.Join(dir, "nothing"), "tiny"},
		"empty":     {"no such model", filepath.Join(dir, "empty", "config.json")},
		"org/none":  {filepath.Join(cache, "models--org--none"), "HF_HUB_CACHE", filepath.Join(dir, "org", "none")},
		"org/half":  {`"gone"`, "download it again"},
		"org/bare":  {filepath.Join("snapshots", "r1", "config.json"), "download it again"},
		"org/evil":  {`"../../.."`, "want a revision"},
		"model/x/y": {"no such model"},
		filepath.Join("model", "model.safetensors"):         {"want a .gguf or .sflow file", "name its directory " + filepath.Join(dir, "model")},
		filepath.Join("model", "model.safetensors", "more"): {"no such model"},
	} {
		_, err := Find(model)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want an error with %q", model, err, w)
			}
		}
	}
}

// The hub cache is looked for as huggingface_hub does.
func TestHubCache(t *testing.T) {
	dir := home(t)
	t.Setenv("SCRATCH", "/scratch")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value, want string }{
		{"", "", filepath.Join(dir, ".cache", "huggingface", "hub")},
		{"XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"},
		{"XDG_CACHE_HOME", "$HOME/xdg", dir + "/xdg/huggingface/hub"},
		{"HF_HOME", "~/hf", filepath.Join(dir, "hf", "hub")},
		{"HF_HOME", "~", filepath.Join(dir, "hub")},
		{"HF_HOME", "~" + me.Username + "/hf", filepath.Join(me.HomeDir, "hf", "hub")},
		{"HF_HOME", "~nobody-of-that-name/hf", "~nobody-of-that-name/hf/hub"},
		{"HF_HOME", "$SCRATCH/hf", "/scratch/hf/hub"},
		{"HF_HOME", "/a/$NO_SUCH_VARIABLE/${NEITHER}", "/a/$NO_SUCH_VARIABLE/${NEITHER}/hub"},
		{"HUGGINGFACE_HUB_CACHE", "${SCRATCH}x/old", "/scratchx/old"},
		{"HF_HUB_CACHE", "/new/$", "/new/$"},
	} {
		if c.name != "" {
			t.Setenv(c.name, c.value) // each outranks those before
		}
		if got := hubCaches(); len(got) != 1 || got[0].dir != filepath.FromSlash(c.want) {
			t.Errorf("%s=%s: got %v, want %s", c.name, c.value, got, c.want)
		}
	}
}

// What older versions of transformers have downloaded is found too.
func TestTransformersCache(t *testing.T) {
	dir := home(t)
	t.Setenv("TRANSFORMERS_CACHE", "$HOME/old")
	want := snapshot(t, filepath.Join(dir, "old"), "org/old", `{"model_type":"opt"}`)
	if got, err := Find("org/old"); err != nil || got.Path != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	if list, err := List(dir); err != nil || len(list) != 2 || list[1].Name != "org/old" {
		t.Errorf("got %+v, %v, want it in the list", list, err)
	}
}

// What List names, Find finds by that name.
func TestListedIsFound(t *testing.T) {
	dir := home(t)
	cache := filepath.Join(dir, "packs")
	hub := filepath.Join(dir, ".cache", "huggingface", "hub")
	for _, id := range []string{"org/model", "nameless", "org/two--parts"} {
		snapshot(t, hub, id, `{"model_type":"opt"}`)
	}
	write(t, filepath.Join(cache, "1.sflow"), packHeader(metadataOfBig))
	write(t, filepath.Join(cache, "2.sflow"), "damaged")
	list, err := List(cache)
	if err != nil || len(list) != 6 {
		t.Fatalf("got %+v, %v, want 6 models", list, err)
	}
	for _, e := range list[1:] {
		if got, err := FindIn(e.Name, cache); err != nil || got.Path != e.Path {
			t.Errorf("%s: got %v, %v, want %s", e.Name, got, err, e.Path)
		}
	}
	if got, err := FindIn("1.sflow", cache); err != nil || got.Path != filepath.Join(cache, "1.sflow") {
		t.Errorf("1.sflow: got %v, %v", got, err)
	}
	write(t, filepath.Join(cache, "3.sflow"), packHeader(metadataOfBig))
	if _, err := FindIn("big", cache); err == nil || !strings.Contains(err.Error(), "got 2 models of that name") {
		t.Errorf("two packs of a name: got %v, want an error that says so", err)
	}
}

// A link without its blob is no file: what needs it says so, what does not
// goes on.
func TestDanglingLinks(t *testing.T) {
	dir := home(t)
	hub := filepath.Join(dir, ".cache", "huggingface", "hub")
	snap := snapshot(t, hub, "org/model", `{"model_type":"opt"}`)
	link := func(name string) {
		t.Helper()
		if err := os.Symlink(filepath.Join("..", "..", "blobs", "gone"), filepath.Join(snap, name)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(incomplete bool) {
		t.Helper()
		all, err := List(dir)
		if err != nil || len(all) != 2 || all[1].Incomplete != incomplete {
			t.Errorf("got %+v, %v, want org/model, incomplete: %v", all, err, incomplete)
		}
	}
	link("README.md")
	if _, err := Find("org/model"); err != nil {
		t.Errorf("README.md: %v", err)
	}
	list(false)
	link("model.safetensors")
	_, err := Find("org/model")
	if err == nil || !strings.Contains(err.Error(), "model.safetensors: got a link to a file that is not there") || !strings.Contains(err.Error(), "sparseflow pull org/model") {
		t.Errorf("got %v, want an error that names the link and the command", err)
	}
	list(true)
	if _, err := Find(snap); err == nil || !strings.Contains(err.Error(), "model.safetensors: got a link to a file that is not there") {
		t.Errorf("the directory itself: got %v, want an error that names the link", err)
	}
	write(t, filepath.Join(snap, "pytorch_model.bin"), "")
	if _, err := Find("org/model"); err != nil {
		t.Errorf("beside other weights: %v", err)
	}
	if err := os.Symlink("gone.sflow", filepath.Join(dir, "m.sflow")); err != nil {
		t.Fatal(err)
	}
	if _, err := Find("m.sflow"); err == nil || !strings.Contains(err.Error(), "got a link to gone.sflow, which is not there") {
		t.Errorf("a pack: got %v, want an error that names the link", err)
	}
}

// A wrong name is answered with the nearest right one and what gets it.
func TestSuggestions(t *testing.T) {
	dir := home(t)
	cache := filepath.Join(dir, "packs")
	write(t, filepath.Join(cache, "1.sflow"), packHeader(metadataOfBig))
	snapshot(t, filepath.Join(dir, ".cache", "huggingface", "hub"), "org/model", `{"model_type":"opt"}`)
	write(t, filepath.Join(dir, "sub", "mine", "config.json"), "{}")
	write(t, filepath.Join(dir, "own.sflow"), "")
	for model, want := range map[string]string{
		"Tiny":              "did you mean tiny? sparseflow run tiny",
		"org/modle":         "did you mean org/model?",
		"bigg":              "did you mean big?",
		"onw.sflow":         "did you mean own.sflow?",
		"sub/mien":          "did you mean sub/mine?",
		"opt-1.3b":          "did you mean facebook/opt-1.3b? to get it: sparseflow pull facebook/opt-1.3b",
		"facebok/opt1.3b":   "did you mean facebook/opt-1.3b?",
		"facebook/opt-6.7b": "; to get it from the hub: sparseflow pull facebook/opt-6.7b",
		"other/gpt":         "; to get it from the hub: sparseflow pull other/gpt",
	} {
		if _, err := FindIn(model, cache); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", model, err, want)
		}
	}
}

// ggufText is a GGUF file of an architecture and nothing else.
func ggufText(t *testing.T, arch string) string {
	t.Helper()
	h := gguf.Header{Metadata: map[string]any{"general.architecture": arch}}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A GGUF model is found by its path, by any part's, and by its directory where it
// is alone there.
func TestGGUF(t *testing.T) {
	dir := home(t)
	text := ggufText(t, "llama")
	write(t, filepath.Join(dir, "one", "Some-Model-Q4_K_M.gguf"), text)
	write(t, filepath.Join(dir, "one", "mmproj-F16.gguf"), text)
	write(t, filepath.Join(dir, "split", "m-00001-of-00002.gguf"), text)
	write(t, filepath.Join(dir, "split", "m-00002-of-00002.gguf"), text)
	write(t, filepath.Join(dir, "both", "config.json"), "{}")
	write(t, filepath.Join(dir, "both", "model.safetensors"), "")
	write(t, filepath.Join(dir, "both", "m.gguf"), text)
	write(t, filepath.Join(dir, "beside", "config.json"), "{}")
	write(t, filepath.Join(dir, "beside", "m.gguf"), text)
	write(t, filepath.Join(dir, "blob"), text)
	write(t, filepath.Join(dir, "cut.gguf"), "GGU")
	for name, want := range map[string]Source{
		"one":                         {Kind: GGUF, Name: "one", Path: "one/Some-Model-Q4_K_M.gguf", Dir: "one", File: "Some-Model-Q4_K_M.gguf"},
		"one/Some-Model-Q4_K_M.gguf":  {Kind: GGUF, Name: "Some-Model-Q4_K_M", Path: "one/Some-Model-Q4_K_M.gguf", Dir: "one", File: "Some-Model-Q4_K_M.gguf"},
		"split":                       {Kind: GGUF, Name: "split", Path: "split/m-00001-of-00002.gguf", Dir: "split", File: "m-00001-of-00002.gguf"},
		"split/m-00002-of-00002.gguf": {Kind: GGUF, Name: "m", Path: "split/m-00001-of-00002.gguf", Dir: "split", File: "m-00001-of-00002.gguf"},
		"both":                        {Kind: Checkpoint, Name: "both", Path: "both"},
		"beside":                      {Kind: GGUF, Name: "beside", Path: "beside/m.gguf", Dir: "beside", File: "m.gguf"},
		"blob":                        {Kind: GGUF, Name: "blob", Path: "blob", Dir: ".", File: "blob"},
		"cut.gguf":                    {Kind: GGUF, Name: "cut", Path: "cut.gguf", Dir: ".", File: "cut.gguf"}, // opening it says what is wrong
	} {
		got, err := Find(filepath.Join(dir, name))
		got.FS = nil
		want.Path = filepath.Join(dir, want.Path)
		if want.Dir != "" {
			want.Dir = filepath.Join(dir, want.Dir)
		}
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	write(t, filepath.Join(dir, "one", "Some-Model-Q8_0.gguf"), text)
	if err := os.Remove(filepath.Join(dir, "split", "m-00001-of-00002.gguf")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"one":   "got 2 GGUF models in " + filepath.Join(dir, "one") + ", want one: name its file, or org/name:QUANT, of Q4_K_M, Q8_0",
		"split": "m-00001-of-00002.gguf: got no such part",
	} {
		if _, err := Find(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %s", name, err, want)
		}
	}
}

// A quantisation in the hub cache is found by the name that its files have for it.
func TestCachedGGUF(t *testing.T) {
	dir := home(t)
	hub := filepath.Join(dir, ".cache", "huggingface", "hub")
	snap := snapshot(t, hub, "org/some-GGUF", "{}")
	text := ggufText(t, "llama")
	for _, file := range []string{"some-Q4_K_M.gguf", "some-UD-Q4_K_XL.gguf", "some.q8_0.gguf", "BF16/some-BF16-00001-of-00002.gguf", "BF16/some-BF16-00002-of-00002.gguf", "other.gguf"} {
		write(t, filepath.Join(snap, file), text)
	}
	for quant, want := range map[string]string{
		"Q4_K_M": "some-Q4_K_M.gguf", "q4_k_m": "some-Q4_K_M.gguf", "UD-Q4_K_XL": "some-UD-Q4_K_XL.gguf", "Q4_K_XL": "some-UD-Q4_K_XL.gguf",
		"Q8_0": "some.q8_0.gguf", "BF16": "BF16/some-BF16-00001-of-00002.gguf", "other": "other.gguf", "other.gguf": "other.gguf",
	} {
		got, err := Find("org/some-GGUF:" + quant)
		if err != nil || got.Kind != GGUF || got.File != want || got.Dir != snap || got.Name != "org/some-GGUF:"+quant {
			t.Errorf("%s: got %+v, %v, want %s", quant, got, err, want)
		}
		if c, err := got.Weights(); err != nil && quant != "BF16" {
			t.Errorf("%s: %v", quant, err)
		} else if err == nil {
			c.Close()
		}
	}
	list, err := List(dir)
	var names []string
	for _, e := range list[1:] {
		names = append(names, e.Name+" "+e.Kind+" "+e.Family)
		if got, err := FindIn(e.Name, dir); err != nil || got.Path != e.Path {
			t.Errorf("%s: got %+v, %v, want %s", e.Name, got, err, e.Path)
		}
	}
	if want := "org/some-GGUF:BF16 gguf llama; org/some-GGUF:Q4_K_M gguf llama; org/some-GGUF:Q8_0 gguf llama; org/some-GGUF:UD-Q4_K_XL gguf llama; org/some-GGUF:other gguf llama"; err != nil || strings.Join(names, "; ") != want {
		t.Errorf("got %s, %v, want %s", strings.Join(names, "; "), err, want)
	}
	for name, want := range map[string]string{
		"org/some-GGUF":      "got 5 GGUF models in " + snap,
		"org/some-GGUF:Q2_K": "got no GGUF file of Q2_K in " + snap + ", want one of those that are there: other, Q4_K_M, UD-Q4_K_XL, Q8_0, BF16; download it again: sparseflow pull org/some-GGUF:Q2_K",
		"org/none:Q4_K_M":    "to get it from the hub: sparseflow pull org/none:Q4_K_M",
	} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %s", name, err, want)
		}
	}
}

func TestCacheDir(t *testing.T) {
	dir := home(t)
	check := func(want string) {
		t.Helper()
		if got, err := CacheDir(""); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	check(filepath.Join(dir, ".cache", "sparseflow"))
	if got, err := CacheDir("asked"); err != nil || got != "asked" {
		t.Errorf("asked: got %s, %v", got, err)
	}
	t.Setenv("XDG_CACHE_HOME", "relative")
	check(filepath.Join(dir, ".cache", "sparseflow"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "xdg"))
	check(filepath.Join(dir, "xdg", "sparseflow"))
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	t.Setenv("TMPDIR", dir)
	check(filepath.Join(dir, "sparseflow-"+strconv.Itoa(os.Getuid())))
}

func TestList(t *testing.T) {
	dir := home(t)
	cache := filepath.Join(dir, "packs")
	list, err := List(cache)
	if err != nil || len(list) != 1 || list[0].Name != "tiny" || list[0].Bytes < 11_000_000 || list[0].Family != "opt" {
		t.Fatalf("an empty machine: got %+v, %v, want tiny alone", list, err)
	}
	hub := filepath.Join(dir, ".cache", "huggingface", "hub")
	snap := snapshot(t, hub, "facebook/opt-125m", `{"model_type":"opt"}`)
	const drawn = `{"model_type":"opt","sparseflow_synthetic":true}`
	snapDrawn := snapshot(t, hub, "org/drawn", drawn)
	snapBert := snapshot(t, hub, "org/bert", `{"model_type":"bert"}`)
	snapshot(t, hub, "org/none", `{}`)
	write(t, filepath.Join(hub, "models--org--broken", "refs", "main"), "gone")
	write(t, filepath.Join(hub, "datasets--org--text", "refs", "main"), "x")
	write(t, filepath.Join(cache, "1.sflow"), packHeader(metadataOfBig))
	write(t, filepath.Join(cache, "2.sflow"), "damaged")
	write(t, filepath.Join(cache, "3.sflow"), packHeader(metadataOfDrawn))
	write(t, filepath.Join(cache, "source-1.json"), "{}")
	list, err = List(cache)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		list[0],
		{"2.sflow", "pack", 7, filepath.Join(cache, "2.sflow"), "", false, false},
		{"big", "pack", int64(len(packHeader(metadataOfBig))), filepath.Join(cache, "1.sflow"), "opt", false, false},
		{"drawn", "pack", int64(len(packHeader(metadataOfDrawn))), filepath.Join(cache, "3.sflow"), "opt", true, false},
		{"facebook/opt-125m", "checkpoint", int64(len(`{"model_type":"opt"}`)), snap, "opt", false, false},
		{"org/bert", "checkpoint", int64(len(`{"model_type":"bert"}`)), snapBert, "bert", false, false},
		{"org/drawn", "checkpoint", int64(len(drawn)), snapDrawn, "opt", true, false},
	}
	if len(list) != len(want) {
		t.Fatalf("got %+v, want %+v", list, want)
	}
	for i := range want {
		if list[i] != want[i] {
			t.Errorf("entry %d: got %+v, want %+v", i, list[i], want[i])
		}
	}
}

// packMetadata reads any file without a panic, and a pack's name if it says
// there is one.
func FuzzPackMetadata(f *testing.F) {
	for _, s := range []string{"", "short", packHeader(metadataOfBig), packHeader(`{"format":"pt"}`), packHeader(`{}`),
		"\xff\xff\xff\xff\xff\xff\xff\xff{\"__metadata__\":", packHeader(`{"sparseflow.version":"1","sparseflow.profile":"{"}`)} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "x.sflow")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := packMetadata(path)
		if err != nil && m != (metadata{}) {
			t.Errorf("got %+v with error %v", m, err)
		}
		if err == nil && !strings.Contains(string(b), "sparseflow.version") && !strings.Contains(string(b), `\u`) {
			t.Errorf("got %+v of %q, want an error", m, b)
		}
	})
}

// A config.json is read as Python writes it.
func TestAboutPythonJSON(t *testing.T) {
	fsys := fstest.MapFS{"config.json": {Data: []byte(`{"dropout": NaN, "model_type": "opt"}`)}}
	if got := readAbout(fsys); got.ModelType != "opt" {
		t.Errorf("got %+v, want an opt", got)
	}
}
