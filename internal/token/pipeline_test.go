package token

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestPipelines holds every kind of step, and what of a tokenizer.json the
// reference takes lightly, against Hugging Face's tokenizers library.
func TestPipelines(t *testing.T) {
	var pipelines []struct {
		Name      string
		Tokenizer json.RawMessage
		Cases     []struct {
			Text, Decoded, Skip string
			IDs, Special        []int32
		}
	}
	readJSON(t, "pipelines.json.gz", &pipelines)
	if len(pipelines) < 100 {
		t.Fatalf("got %d pipelines, want at least 100", len(pipelines))
	}
	for _, p := range pipelines {
		t.Run(p.Name, func(t *testing.T) {
			tok := mustLoad(t, fstest.MapFS{tokenizerFile: {Data: p.Tokenizer}})
			for _, c := range p.Cases {
				if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
					t.Errorf("Encode(%q)\n got %v\nwant %v", c.Text, got, c.IDs)
				}
				if got := tok.Encode(c.Text, tok.AddsBOS()); !slices.Equal(got, c.Special) {
					t.Errorf("Encode(%q) with specials\n got %v\nwant %v", c.Text, got, c.Special)
				}
				// The library writes an added token's text through the byte
				// table, which garbles those with a byte's spelling in them.
				if strings.Contains(p.Name, "added bytes") && strings.ContainsAny(c.Text, "éÉ") {
					continue
				}
				if got := tok.Decode(c.Special, false); got != c.Decoded {
					t.Errorf("Decode(%v)\n got %q\nwant %q", c.Special, got, c.Decoded)
				}
				if got := tok.Decode(c.Special, true); got != c.Skip {
					t.Errorf("Decode(%v) without specials\n got %q\nwant %q", c.Special, got, c.Skip)
				}
			}
		})
	}
}
