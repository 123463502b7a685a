package pull

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// mostTries is how often in a row a connection may bring nothing.
const mostTries = 5

// fetch downloads a file into its blob.
func (p *puller) fetch(ctx context.Context, f file, blob string) (err error) {
	d, err := p.resume(f, blob+incomplete)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.out.Close()) }()
	for try := 0; d.at < f.Size; try++ {
		before := d.at
		err := d.more(ctx)
		var t *temporary
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &t):
			return err
		case d.at > before:
			try = -1 // it goes on
		case try >= mostTries:
			return fmt.Errorf("%w (tried %d times; what is there is kept, and the next pull goes on from there)", err, try+1)
		}
		if err != nil {
			if err := p.c.wait(ctx, max(0, try)); err != nil {
				return err
			}
		}
	}
	if err := d.out.Sync(); err != nil {
		return err
	}
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != f.blob() {
		return errors.Join(fmt.Errorf("got %d bytes with hash %s, want %s: what came is not what the hub lists; it is removed, pull again", d.at, got, f.blob()), os.Remove(blob+incomplete))
	}
	return os.Rename(blob+incomplete, blob)
}

// A download is a file on its way.
type download struct {
	*puller
	f   file
	out *os.File
	at  int64     // bytes that are there
	sum hash.Hash // of them
}

// resume opens what is there of a file.
func (p *puller) resume(f file, path string) (*download, error) {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	d := &download{puller: p, f: f, out: out}
	d.begin()
	n, err := io.Copy(d.sum, io.LimitReader(out, f.Size))
	if err == nil {
		d.at = n
		p.advance(f, n)
		_, err = out.Seek(n, io.SeekStart)
	}
	if err == nil {
		err = out.Truncate(n)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return d, nil
}

// begin starts the hash: of git's object of the file where the hub has no other.
func (d *download) begin() {
	if d.f.SHA256 != "" {
		d.sum = sha256.New()
		return
	}
	d.sum = sha1.New()
	fmt.Fprintf(d.sum, "blob %d\x00", d.f.Size)
}

// again starts the file anew.
func (d *download) again() error {
	d.advance(d.f, -d.at)
	d.at = 0
	d.begin()
	if err := d.out.Truncate(0); err != nil {
		return err
	}
	_, err := d.out.Seek(0, io.SeekStart)
	return err
}

// more asks for what is missing and takes what comes.
func (d *download) more(ctx context.Context) error {
	var escaped []string
	for _, part := range strings.Split(d.f.Path, "/") {
		escaped = append(escaped, url.PathEscape(part))
	}
	resp, err := d.c.get(ctx, d.c.endpoint+"/"+d.id+"/resolve/"+d.revision+"/"+strings.Join(escaped, "/"), d.id, d.at)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if d.at > 0 {
		var from int64
		_, scanned := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from)
		if resp.StatusCode != http.StatusPartialContent || scanned != nil || from != d.at {
			if resp.StatusCode == http.StatusPartialContent {
				return fmt.Errorf("got the range %q, want one from byte %d on", resp.Header.Get("Content-Range"), d.at)
			}
			if err := d.again(); err != nil { // the server sends all of it
				return err
			}
		}
	}
	return d.copy(resp.Body)
}

// copy takes what comes, up to the file's size.
func (d *download) copy(body io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf[:min(int64(len(buf)), d.f.Size-d.at+1)])
		if d.at+int64(n) > d.f.Size {
			return fmt.Errorf("got more than the %d bytes that the hub lists", d.f.Size)
		}
		if n > 0 {
			if _, err := d.out.Write(buf[:n]); err != nil {
				return err
			}
			d.sum.Write(buf[:n])
			d.at += int64(n)
			d.fetched += int64(n)
			d.advance(d.f, int64(n))
		}
		switch {
		case err == io.EOF && d.at == d.f.Size:
			return nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return &temporary{fmt.Errorf("got the connection's end after %d of %d bytes: %w", d.at, d.f.Size, err)}
		}
	}
}
