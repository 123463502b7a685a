package pull

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/hub"
)

const revision = "0123456789abcdef0123456789abcdef01234567"

// double is a hub with one repository, org/model.
type double struct {
	*httptest.Server
	t     testing.TB
	files map[string][]byte // large ones, which have a SHA-256, are those over 1 KiB
	token string            // that is asked for, "": none

	listing  string         // in the place of the right one, "": that
	wrong    map[string]int // bytes of a file that come otherwise, from the end
	cut      map[string]int // how often a connection ends in the middle of a file
	noRanges bool
	asked    []string // ranges, in order
	status   []int    // of the next answers
}

func newDouble(t testing.TB) *double {
	d := &double{t: t, wrong: map[string]int{}, cut: map[string]int{}}
	rng := rand.NewChaCha8([32]byte{3})
	weights := make([]byte, 300<<10)
	rng.Read(weights)
	d.files = map[string][]byte{
		"config.json": []byte(`{"model_type":"llama"}`), "tokenizer.json": bytes.Repeat([]byte("tok"), 1000), "README.md": []byte("read me"),
		"model-00001-of-00002.safetensors": weights[:200<<10], "model-00002-of-00002.safetensors": weights[200<<10:],
		"model.safetensors.index.json": []byte(`{"weight_map":{}}`), "pytorch_model.bin": weights[5:], "consolidated.safetensors": weights[9:], "onnx/model.onnx": weights[7:],
		"chat_template.jinja": []byte("{{ x }}"),
	}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

func gitHash(b []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(b))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func (d *double) list() string {
	if d.listing != "" {
		return d.listing
	}
	type lfs struct {
		SHA256 string `json:"sha256"`
		Size   int    `json:"size"`
	}
	type sibling struct {
		Name string `json:"rfilename"`
		Size int    `json:"size"`
		Blob string `json:"blobId"`
		LFS  *lfs   `json:"lfs,omitempty"`
	}
	listing := struct {
		SHA      string    `json:"sha"`
		Siblings []sibling `json:"siblings"`
	}{SHA: revision}
	for name, b := range d.files {
		s := sibling{Name: name, Size: len(b), Blob: gitHash(b)}
		if len(b) > 1024 {
			sum := sha256.Sum256(b)
			s.LFS = &lfs{hex.EncodeToString(sum[:]), len(b)}
		}
		listing.Siblings = append(listing.Siblings, s)
	}
	raw, err := json.Marshal(listing)
	if err != nil {
		d.t.Error(err)
	}
	return string(raw)
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	if len(d.status) > 0 {
		code := d.status[0]
		d.status = d.status[1:]
		if code != 0 {
			w.WriteHeader(code)
			return
		}
	}
	if d.token != "" && r.Header.Get("Authorization") != "Bearer "+d.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/api/models/org/model/revision/main" {
		io.WriteString(w, d.list())
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/model/resolve/"+revision+"/")
	b, there := d.files[name]
	if !ok || !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	b = slices.Clone(b)
	if n := d.wrong[name]; n > 0 {
		b[len(b)-n] ^= 1
	}
	from := 0
	if ask := r.Header.Get("Range"); ask != "" && !d.noRanges {
		fmt.Sscanf(ask, "bytes=%d-", &from)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		d.asked = append(d.asked, ask)
	}
	b = b[from:]
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if d.cut[name] > 0 {
		d.cut[name]--
		w.Write(b[:len(b)/2])
		panic(http.ErrAbortHandler)
	}
	w.Write(b)
}

// pull pulls from the double, without waiting between tries.
func (d *double) pull(name, cache string) (Result, error) {
	return Model(d.t.Context(), name, Options{Endpoint: d.URL, CacheDir: cache, Token: d.token, noWait: true})
}

// Of a checkpoint come the files that it is made of, laid out as huggingface_hub
// does, and package hub finds it.
func TestCheckpoint(t *testing.T) {
	d, cache := newDouble(t), t.TempDir()
	done, total := int64(0), int64(0)
	r, err := Model(t.Context(), "org/model", Options{Endpoint: d.URL, CacheDir: cache, Progress: func(_ string, n, of int64) { done, total = n, of }})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"chat_template.jinja", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json"}
	entries, err := os.ReadDir(r.Dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if err != nil || !slices.Equal(got, want) || r.Files != len(want) || r.Bytes != r.Fetched || done != total || total != r.Bytes {
		t.Errorf("got %v of %+v, %d of %d bytes told, %v, want %v", got, r, done, total, err, want)
	}
	for _, name := range want {
		if b, err := os.ReadFile(filepath.Join(r.Dir, name)); err != nil || !bytes.Equal(b, d.files[name]) {
			t.Errorf("%s: got other bytes, %v", name, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(r.Dir, "config.json")); err != nil || to != filepath.Join("..", "..", "blobs", gitHash(d.files["config.json"])) {
		t.Errorf("got a link to %s, %v", to, err)
	}
	t.Setenv("HF_HUB_CACHE", cache)
	src, err := hub.Find("org/model")
	if err != nil || src.Path != r.Dir || src.Kind != hub.Checkpoint {
		t.Errorf("got %+v, %v, want it found in %s", src, err, r.Dir)
	}
	// What is there does not come again.
	if r, err = d.pull("org/model", cache); err != nil || r.Fetched != 0 {
		t.Errorf("again: got %+v, %v", r, err)
	}
}

// Of GGUF files come those of a quantisation.
func TestQuant(t *testing.T) {
	d, cache := newDouble(t), t.TempDir()
	for _, name := range []string{"m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "mmproj-F16.gguf"} {
		d.files[name] = append([]byte("GGUF"), bytes.Repeat([]byte(name), 100)...)
	}
	for _, name := range []string{"config.json", "pytorch_model.bin"} {
		delete(d.files, name)
	}
	for quant, files := range map[string]int{"q4_k_m": 1, "Q8_0": 2} {
		if r, err := d.pull("org/model:"+quant, cache); err != nil || r.Files != files {
			t.Errorf("%s: got %+v, %v, want %d files", quant, r, err, files)
		}
	}
	for name, want := range map[string]string{
		"org/model":      "got 2 GGUF models in org/model, want one: name it as org/model:Q4_K_M, of Q4_K_M, Q8_0",
		"org/model:Q2_K": "got no GGUF file of Q2_K in org/model, want one of Q4_K_M, Q8_0",
		"org/none":       `got "404 Not Found"`,
		"model":          "want org/name or org/name:QUANT",
	} {
		if _, err := d.pull(name, cache); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	t.Setenv("HF_HUB_CACHE", cache)
	if src, err := hub.Find("org/model:Q8_0"); err != nil || src.File != "m-Q8_0-00001-of-00002.gguf" {
		t.Errorf("got %+v, %v", src, err)
	}
}

// A connection that ends goes on where it ended, in this pull and in the next.
func TestResume(t *testing.T) {
	const large = "model-00001-of-00002.safetensors"
	d, cache := newDouble(t), t.TempDir()
	d.cut[large] = 10 // each time half of the rest is there
	if _, err := d.pull("org/model", cache); err != nil {
		t.Fatal(err)
	}
	if len(d.asked) != 10 || d.asked[0] != "bytes=102400-" {
		t.Errorf("got ranges %v, want 10 from the middle on", d.asked)
	}
	// The next pull.
	sum := sha256.Sum256(d.files[large])
	root := filepath.Join(cache, "models--org--model")
	blob := filepath.Join(root, "blobs", hex.EncodeToString(sum[:]))
	if err := os.Rename(blob, blob+incomplete); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(blob+incomplete, 1000); err != nil {
		t.Fatal(err)
	}
	d.asked = nil
	if r, err := d.pull("org/model", cache); err != nil || r.Fetched != int64(len(d.files[large]))-1000 || !slices.Equal(d.asked, []string{"bytes=1000-"}) {
		t.Errorf("got %+v, ranges %v, %v", r, d.asked, err)
	}
	// A server without ranges sends all of it again.
	if err := os.Rename(blob, blob+incomplete); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(blob+incomplete, 1000); err != nil {
		t.Fatal(err)
	}
	d.noRanges = true
	if r, err := d.pull("org/model", cache); err != nil || r.Fetched != int64(len(d.files[large])) {
		t.Errorf("without ranges: got %+v, %v", r, err)
	}
	if b, err := os.ReadFile(blob); err != nil || !bytes.Equal(b, d.files[large]) {
		t.Errorf("got other bytes, %v", err)
	}
}

// What is not what the hub lists gets no name, and the model none either.
func TestWrongBytes(t *testing.T) {
	for _, name := range []string{"model-00002-of-00002.safetensors", "config.json"} {
		d, cache := newDouble(t), t.TempDir()
		d.wrong[name] = 3
		_, err := d.pull("org/model", cache)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "what came is not what the hub lists") {
			t.Errorf("%s: got %v, want an error about its hash", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "*", "blobs", "*"+incomplete)); len(left) > 0 {
			t.Errorf("%s: got %v left", name, left)
		}
		if _, err := os.Stat(filepath.Join(cache, "models--org--model", "refs", "main")); err == nil {
			t.Errorf("%s: got a reference to a model that is not whole", name)
		}
		d.wrong[name] = 0
		if _, err := d.pull("org/model", cache); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

// Answers that may be better the next time are asked for again, others not.
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		status []int
		want   string
	}{
		{[]int{503, 429, 500}, ""},
		{[]int{0, 503, 0, 502}, ""},
		{[]int{503, 503, 503, 503, 503, 503}, "503 Service Unavailable"},
		{[]int{0, 503, 503, 503, 503, 503, 503}, "tried 6 times"},
		{[]int{403}, "set HF_TOKEN"},
		{[]int{0, 404}, `"404 Not Found"`},
		{[]int{418}, "418"},
	} {
		d := newDouble(t)
		d.status = tt.status
		_, err := d.pull("org/model", t.TempDir())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v: got %v, want %q", tt.status, err, tt.want)
		}
	}
	d := newDouble(t)
	d.token = "secret"
	t.Setenv("HF_TOKEN", "secret")
	if _, err := d.pull("org/model", t.TempDir()); err != nil {
		t.Errorf("with a token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Model(ctx, "org/model", Options{Endpoint: d.URL, CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("cancelled: got %v", err)
	}
	if _, err := Model(t.Context(), "org/model", Options{Endpoint: "nowhere"}); err == nil || !strings.Contains(err.Error(), "HF_ENDPOINT") {
		t.Errorf("got %v, want an error about the endpoint", err)
	}
}

// A listing that names what is not inside the cache writes nothing there.
func TestHostileListing(t *testing.T) {
	git := strings.Repeat("a", 40)
	for _, listing := range []string{
		"<html>", "{}", `{"sha":"../../x"}`,
		`{"sha":"` + revision + `","siblings":[{"rfilename":"../../config.json","size":1,"blobId":"` + git + `"}]}`,
		`{"sha":"` + revision + `","siblings":[{"rfilename":"/config.json","size":1,"blobId":"` + git + `"}]}`,
		`{"sha":"` + revision + `","siblings":[{"rfilename":"config.json","size":-1,"blobId":"` + git + `"}]}`,
		`{"sha":"` + revision + `","siblings":[{"rfilename":"config.json","size":1,"blobId":"../` + git + `"}]}`,
		`{"sha":"` + revision + `","siblings":[{"rfilename":"config.json","size":1,"blobId":"` + git + `","lfs":{"sha256":"../x","size":1}}]}`,
		`{"sha":"` + revision + `"}`,
	} {
		d, cache := newDouble(t), t.TempDir()
		d.listing = listing
		if _, err := d.pull("org/model", cache); err == nil || !strings.Contains(err.Error(), "got ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line", listing, err)
		}
		if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
			t.Errorf("%s: got %v in the cache, %v", listing, left, err)
		}
	}
}
