package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sparseflow/sparseflow/internal/hub"
)

// client talks to a hub.
type client struct {
	http     *http.Client
	endpoint string
	token    string
	wait     func(ctx context.Context, n int) error // before try n
}

func newClient(o Options) (*client, error) {
	c := &client{http: o.Client, endpoint: o.Endpoint, token: o.Token, wait: backoff}
	if o.noWait {
		c.wait = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	if c.http == nil {
		c.http = http.DefaultClient
	}
	if c.endpoint == "" {
		c.endpoint = cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co")
	}
	c.endpoint = strings.TrimSuffix(c.endpoint, "/")
	if u, err := url.Parse(c.endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("got HF_ENDPOINT %q, want a URL such as https://huggingface.co", c.endpoint)
	}
	if c.token == "" {
		c.token = hub.Token()
	}
	return c, nil
}

// backoff waits longer before each try.
func backoff(ctx context.Context, n int) error {
	select {
	case <-time.After(500 * time.Millisecond << min(n, 5)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A repo is what a repository holds at the newest revision.
type repo struct {
	SHA   string
	Files []file
}

// A file is one of a repository.
type file struct {
	Path   string
	Size   int64
	SHA256 string // of a large one
	Git    string // SHA-1 of git's object, of a small one
}

// blob is the name of its blob.
func (f file) blob() string { return cmp.Or(f.SHA256, f.Git) }

var (
	sha1Hex   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// maxListing bounds a repository's listing.
const maxListing = 64 << 20

// list asks what a repository holds.
func (c *client) list(ctx context.Context, id string) (r repo, err error) {
	var body []byte
	for try := 0; ; try++ {
		body, err = c.read(ctx, c.endpoint+"/api/models/"+id+"/revision/main?blobs=true", id)
		var t *temporary
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return r, fmt.Errorf("%w: is the network there, and HF_ENDPOINT right?", err)
		}
		if !errors.As(err, &t) || try >= mostTries {
			break
		}
		if err := c.wait(ctx, try); err != nil {
			return r, err
		}
	}
	if err != nil {
		return r, err
	}
	var listing struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size int64  `json:"size"`
			Blob string `json:"blobId"`
			LFS  *struct {
				SHA256 string `json:"sha256"`
				Size   int64  `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(body, &listing); err != nil {
		return r, fmt.Errorf("%s: got a listing that is no JSON of a repository: %w", c.endpoint, err)
	}
	if !sha1Hex.MatchString(listing.SHA) {
		return r, fmt.Errorf("%s: got revision %.80q, want 40 hexadecimal digits", c.endpoint, listing.SHA)
	}
	r.SHA = listing.SHA
	for _, s := range listing.Siblings {
		f := file{Path: s.Name, Size: s.Size, Git: s.Blob}
		if s.LFS != nil {
			f.Size, f.SHA256 = s.LFS.Size, s.LFS.SHA256
		}
		good := sha256Hex.MatchString(f.SHA256) || f.SHA256 == "" && sha1Hex.MatchString(f.Git)
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsAny(f.Path, "\\:\x00") || f.Size < 0 || !good {
			return r, fmt.Errorf("%s: got file %.200q of %d bytes with hash %.80q, want a path inside the repository, a size and a hash", c.endpoint, f.Path, f.Size, f.blob())
		}
		r.Files = append(r.Files, f)
	}
	slices.SortFunc(r.Files, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return r, nil
}

// read is the body of a small answer.
func (c *client) read(ctx context.Context, url, id string) ([]byte, error) {
	resp, err := c.get(ctx, url, id, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxListing+1))
	if err != nil {
		return nil, &temporary{fmt.Errorf("%s: %w", url, err)}
	}
	if len(body) > maxListing {
		return nil, fmt.Errorf("%s: got over %d bytes, want a listing", url, maxListing)
	}
	return body, nil
}

// temporary is an error that may be gone at the next try.
type temporary struct{ err error }

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// get asks for a file from byte from on.
func (c *client) get(ctx context.Context, url, id string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "sparseflow")
	// Go would unpack what a proxy has packed, and ranges count packed bytes.
	req.Header.Set("Accept-Encoding", "identity")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &temporary{err}
	}
	if err := c.status(resp, id, from); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// status is what is wrong with an answer.
func (c *client) status(resp *http.Response, id string, from int64) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent && from > 0:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		how := "set HF_TOKEN to a token of " + c.endpoint + "/settings/tokens"
		if c.token != "" {
			how = "accept its conditions at " + c.endpoint + "/" + id + ", or set HF_TOKEN to a token that may read it"
		}
		return fmt.Errorf("got %q from the hub: there is no such model, or it is not open to everybody: %s", resp.Status, how)
	case code == http.StatusNotFound:
		return fmt.Errorf("got %q from %s, want the name of a model there", resp.Status, c.endpoint)
	case code == http.StatusTooManyRequests || code >= 500 || code == http.StatusRequestTimeout || code == http.StatusRequestedRangeNotSatisfiable:
		return &temporary{fmt.Errorf("got %q from %s, want the file", resp.Status, resp.Request.URL.Host)}
	default:
		return fmt.Errorf("got %q from %s, want the file", resp.Status, resp.Request.URL.Host)
	}
}

// choose is what of a repository's files a model is made of.
func choose(files []file, id, quant string) ([]file, error) {
	if quant == "" {
		if chosen := checkpoint(files); chosen != nil {
			return chosen, nil
		}
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	wanted, err := hub.ChooseGGUF(names, id, quant)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool { return !slices.Contains(wanted, f.Path) }), nil
}

// checkpoint is the files of a repository that is a checkpoint's directory, nil of
// others. Weights in a format that is less well read are left out, and so is what
// is no part of the model.
func checkpoint(files []file) (chosen []file) {
	has := func(name string) bool { return slices.ContainsFunc(files, func(f file) bool { return f.Path == name }) }
	if !has("config.json") {
		return nil
	}
	for _, stem := range []string{"model.safetensors", "pytorch_model.bin"} {
		ext := path.Ext(stem)
		part := regexp.MustCompile(`^` + strings.TrimSuffix(stem, ext) + `(-\d+-of-\d+)?\` + ext + `(\.index\.json)?$`)
		weights := false
		chosen = nil
		for _, f := range files {
			switch {
			case part.MatchString(f.Path):
				weights = weights || path.Ext(f.Path) == ext
			case strings.Contains(f.Path, "/") || !slices.Contains([]string{".json", ".jinja", ".txt", ".model"}, path.Ext(f.Path)), strings.HasSuffix(f.Path, ".index.json"):
				continue
			}
			chosen = append(chosen, f)
		}
		if weights {
			return chosen
		}
	}
	return nil
}
