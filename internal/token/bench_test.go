package token

import (
	"runtime"
	"strings"
	"testing"
)

func BenchmarkEncode(b *testing.B) {
	book := string(readFile(b, "books.txt.gz"))
	noSpaces := strings.ReplaceAll(book[:20000], " ", "")
	for _, bm := range []struct {
		name string
		tok  *Tokenizer
		text string
	}{
		{"opt/book", opt(b), book},
		{"tiny/book", folderTokenizer(b, "tiny"), book},
		{"opt/one-word-1MB", opt(b), strings.Repeat("a", 1<<20)},
		{"opt/one-mixed-word-1MB", opt(b), strings.Repeat("abcdefgh", 1<<17)},
		{"opt/unspaced", opt(b), noSpaces},
		{"opt/cjk", opt(b), strings.Repeat("東京は日本の首都である。", 2000)},
		{"opt/digits", opt(b), strings.Repeat("3.14159 26535 ", 2000)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.text)))
			b.ReportAllocs()
			for b.Loop() {
				bm.tok.Encode(bm.text, true)
			}
		})
	}
}

// BenchmarkFamilies encodes English text by real vocabularies, which lie beside
// the checkout.
func BenchmarkFamilies(b *testing.B) {
	for _, family := range []string{"qwen3", "llama3", "gpt-oss", "deepseek-v3", "smollm2", "llama2", "mistral-v3", "gemma3"} {
		b.Run(family, func(b *testing.B) {
			text := string(sharedFile(b, "text/books.sample.txt"))
			tok := sharedTokenizer(b, family)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, true)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := opt(b)
	book := string(readFile(b, "books.txt.gz"))
	ids := tok.Encode(book, true)
	b.Run("whole", func(b *testing.B) {
		b.SetBytes(int64(len(book)))
		for b.Loop() {
			tok.Decode(ids, true)
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(int64(len(book)))
		for b.Loop() {
			d := tok.NewDecoder()
			for _, id := range ids {
				d.Push(id)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	fsys := optFiles(b)
	b.ReportAllocs()
	for b.Loop() {
		mustLoad(b, fsys)
	}
}

// retained returns the live heap in bytes.
func retained() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory holds a loaded 50 000-token vocabulary to the size that plans of
// a budgeted process count on, and encoding to leave nothing behind.
func TestMemory(t *testing.T) {
	fsys := optFiles(t)
	before := retained()
	tok := mustLoad(t, fsys)
	loaded := retained() - before
	tok.Encode(string(readFile(t, "books.txt.gz")), true)
	used := retained() - before
	runtime.KeepAlive(fsys)
	runtime.KeepAlive(tok)
	t.Logf("retained: %d bytes after Load, %d after encoding", loaded, used)
	if limit := int64(4 << 20); loaded > limit || used > limit {
		t.Errorf("retained %d bytes after Load, %d after encoding, want at most 4 MiB", loaded, used)
	}
}
