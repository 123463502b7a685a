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
				if p.Name == "ids twice" { // the library takes either token
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

// TestTryEncode shows that a text on which a pattern takes too long is an error
// and still is encoded to its end.
func TestTryEncode(t *testing.T) {
	data := strings.Replace(string(readFile(t, "added/tokenizer.json")), `"type": "ByteLevel"`, `"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"}, {"type": "ByteLevel"}]`, 1)
	tok := mustLoad(t, fstest.MapFS{tokenizerFile: {Data: []byte(data)}})
	if _, err := tok.TryEncode("aab", false); err != nil {
		t.Error(err)
	}
	text := strings.Repeat("a", 1<<18) + "b"
	ids, err := tok.TryEncode(strings.Repeat("a", 1<<18)+"c", false)
	if err == nil || !strings.Contains(err.Error(), "too many steps") {
		t.Errorf("got error %v, want one about steps", err)
	}
	if got := tok.Decode(ids, false); len(got) != len(text) {
		t.Errorf("got %d bytes back, want %d", len(got), len(text))
	}
}
