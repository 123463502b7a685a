package token

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/token/pattern"
)

// splitPattern is GPT-2's pattern without the lookahead, which Go lacks;
// oracleSplit makes up for that.
var splitPattern = regexp.MustCompile(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\x{0B}\x{85}\p{Z}\p{L}\p{N}]+|[\s\x{0B}\x{85}\p{Z}]+`)

// oracleSplit cuts valid UTF-8 by the pattern.
func oracleSplit(text string) []string {
	var pieces []string
	for text != "" {
		n := splitPattern.FindStringIndex(text)[1]
		piece := text[:n]
		last, size := utf8.DecodeLastRuneInString(piece)
		if unicode.IsSpace(last) && n < len(text) && n > size {
			n -= size // \s+(?!\S)
		}
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// oracle is BPE as GPT-2's published encoder does it, on strings: the pair of
// the lowest rank is merged wherever it is, until no pair has a rank.
type oracle struct {
	vocab map[string]int32
	rank  map[[2]string]int
}

func newOracle(tb testing.TB, vocab, merges []byte) *oracle {
	tb.Helper()
	o := oracle{rank: map[[2]string]int{}}
	b := builder{}
	if err := b.readVocab(vocab); err != nil {
		tb.Fatal(err)
	}
	o.vocab = b.vocab
	for i, line := range strings.Split(strings.TrimSpace(string(merges)), "\n")[1:] {
		left, right, _ := strings.Cut(line, " ")
		o.rank[[2]string{left, right}] = i
	}
	return &o
}

func (o *oracle) encode(text string) []int32 {
	var ids []int32
	for _, piece := range oracleSplit(text) {
		var word []string
		for _, b := range []byte(piece) {
			word = append(word, string(byteRune(b)))
		}
		for {
			best, lowest := [2]string{}, len(o.rank)
			for i := range len(word) - 1 {
				if r, ok := o.rank[[2]string{word[i], word[i+1]}]; ok && r < lowest {
					best, lowest = [2]string{word[i], word[i+1]}, r
				}
			}
			if lowest == len(o.rank) {
				break
			}
			var merged []string
			for i := 0; i < len(word); i++ {
				if i+1 < len(word) && word[i] == best[0] && word[i+1] == best[1] {
					merged = append(merged, best[0]+best[1])
					i++
				} else {
					merged = append(merged, word[i])
				}
			}
			word = merged
		}
		for _, w := range word {
			ids = append(ids, o.vocab[w])
		}
	}
	return ids
}

// genText draws text in which what the pattern tells apart meets often, and
// short repeats make long pieces.
func genText() *rapid.Generator[string] {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{
			" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2003", "\u0085", "\x1c", "\u180e", "\u200b", "'", "'s", "'ll", "'LL", "'re",
			"the", " and", "Ünïcödé", "e\u0301", "١٢٣", "½", "Ⅷ", "東京", "한국어", "😀", "👩‍👩‍👧", "\u00ad", "\ufeff", "\ufffd", "...", "--", "(", "<", "s>", "\x00",
		}),
		rapid.StringMatching(`[a-z]{1,12}`),
		rapid.String(),
		rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringMatching(`[a-d]{1,3}|\x{4e2d}|=`).Draw(t, "unit"), rapid.IntRange(1, 80).Draw(t, "times"))
		}),
	)
	return rapid.Map(rapid.SliceOfN(part, 0, 10), func(parts []string) string { return strings.Join(parts, "") })
}

// TestOracle holds splitting and merging, of short and of long pieces, against
// the plain algorithm.
func TestOracle(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	o := newOracle(t, readFile(t, "tiny/vocab.json"), readFile(t, "tiny/merges.txt"))
	re, err := pattern.Compile(gpt2Pattern)
	if err != nil {
		t.Fatal(err)
	}
	by := splitBy{by: re}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ReplaceAll(genText().Draw(t, "text"), "</s>", "")
		var pieces []string
		if text != "" {
			by.split(pattern.NewMatcher(0), piece{text: text}, func(p piece) { pieces = append(pieces, p.text) })
		}
		if want := oracleSplit(text); !slices.Equal(pieces, want) {
			t.Fatalf("%q splits into %q, want %q", text, pieces, want)
		}
		if got, want := tok.Encode(text, false), o.encode(text); !slices.Equal(got, want) {
			t.Fatalf("Encode(%q) = %v, want %v", text, got, want)
		}
	})
}

// TestLongEqualsShort merges the same pieces by both ways, over merges that no
// training gave: any pair of tokens, in any order of ranks.
func TestLongEqualsShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := bpe{unk: 9, bytes: true, pairs: map[pair]outcome{}}
		for i := range m.byteID {
			m.byteID[i] = int32(i % 4)
		}
		m.byteID['e'] = noByte
		n := rapid.IntRange(0, 40).Draw(t, "merges")
		for rank := range n {
			id := rapid.Int32Range(0, int32(rank)+3)
			m.pairs[pairOf(id.Draw(t, "left"), id.Draw(t, "right"))] = toMerge(rank, int32(rank)+4)
		}
		piece := rapid.StringMatching(`[a-e]{1,64}`).Draw(t, "piece")
		var s scratch
		short := m.merge(&s, nil, piece)
		s.symbols = s.symbols[:0]
		m.addBytes(&s, piece)
		if long := m.mergeLong(&s, nil, piece); !slices.Equal(short, long) {
			t.Fatalf("%q merges to %v short and %v long", piece, short, long)
		}
	})
}

// TestTokenOutOfReach has a token that an earlier merge always gets in the way
// of: its text must not encode to it.
func TestTokenOutOfReach(t *testing.T) {
	tok := mustLoad(t, fstest.MapFS{
		vocabFile: {Data: byteVocab("ab", "bc", "abc")}, mergesFile: {Data: []byte("b c\na b\nab c\n")},
	})
	if got, want := tok.Encode("abc ab", false), []int32{'a', 257, ' ', 256}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
}

// TestWordTable shows that the table of whole words changes nothing.
func TestWordTable(t *testing.T) {
	tok := opt(t)
	model := *tok.model
	model.words = nil
	without := *tok
	without.model = &model
	words, step := 0, int32(1)
	if testing.Short() {
		step = 8
	}
	for id := int32(0); id < int32(tok.VocabSize()); id += step {
		text, _ := tok.Token(id)
		if tok.IsSpecial(id) {
			continue
		}
		want := without.Encode(text, false)
		for range 2 { // the second time the table knows
			if got := tok.Encode(text, false); !slices.Equal(got, want) {
				t.Fatalf("token %d %q encodes to %v with the table and %v without", id, text, got, want)
			}
		}
		if tok.model.known.has(id) {
			words++
		}
	}
	if tried := tok.VocabSize() / int(step); words < tried*99/100 {
		t.Errorf("got %d tokens of %d known to be whole words, want nearly all", words, tried)
	}
}

func checkRoundTrip(tb rapid.TB, tok *Tokenizer, text string) {
	tb.Helper()
	ids := tok.Encode(text, true)
	if got := string(tok.DecodeBytes(ids, false)); got != "</s>"+text {
		tb.Fatalf("DecodeBytes(Encode(%q)) = %q", text, got)
	}
	want := text
	if !utf8.ValidString(text) {
		raw, _ := appendText(nil, []byte(text), true)
		want = string(raw)
	}
	if got := tok.Decode(ids[1:], false); got != want {
		tb.Fatalf("Decode(Encode(%q)) = %q, want %q", text, got, want)
	}
	checkStream(tb, tok, ids)
}

// checkStream holds a stream against Decode, and each of its parts to UTF-8.
func checkStream(tb rapid.TB, tok *Tokenizer, ids []int32) {
	tb.Helper()
	for _, skip := range []bool{false, true} {
		d := tok.NewDecoder()
		d.SkipSpecial = skip
		var got strings.Builder
		for _, id := range ids {
			part := d.Push(id)
			if !utf8.ValidString(part) {
				tb.Fatalf("Push(%d) in %v = %q, want UTF-8", id, ids, part)
			}
			got.WriteString(part)
		}
		got.WriteString(d.Flush())
		// Of other decoders than bytes alone, a stream may differ where ids are
		// no text.
		if want := tok.Decode(ids, skip); tok.decoder.bytes && got.String() != want {
			tb.Fatalf("stream of %v = %q, want %q", ids, got.String(), want)
		}
		if d.Flush() != "" {
			tb.Fatalf("second Flush after %v is not empty", ids)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	rapid.Check(t, func(t *rapid.T) {
		text := genText().Draw(t, "text")
		if rapid.Bool().Draw(t, "broken") {
			text = string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + text
		}
		checkRoundTrip(t, tok, text)
	})
}

func TestStreamAnyIDs(t *testing.T) {
	tok := folderTokenizer(t, "tiny")
	// Byte tokens come often, so that characters are cut everywhere.
	id := rapid.OneOf(rapid.Int32Range(0, 259), rapid.Int32Range(-2, 4100), rapid.Int32())
	rapid.Check(t, func(t *rapid.T) {
		checkStream(t, tok, rapid.SliceOf(id).Draw(t, "ids"))
	})
}

func TestByteSpelling(t *testing.T) {
	seen := map[rune]byte{}
	for i := range 256 {
		r := byteRune(byte(i))
		if b, ok := runeByte(r); !ok || int(b) != i {
			t.Errorf("runeByte(byteRune(%#02x)) = %#02x, %v", i, b, ok)
		}
		seen[r] = byte(i)
	}
	if len(seen) != 256 {
		t.Errorf("got %d characters for 256 bytes", len(seen))
	}
	// GPT-2 numbers the unprintable bytes from U+0100 in ascending order.
	order := slices.Sorted(maps.Keys(seen))
	for i, want := range slices.Concat(span(0, ' '), span(0x7F, 0xA0), []byte{0xAD}) {
		if r := order[188+i]; r != rune(0x100+i) || seen[r] != want {
			t.Errorf("character %U spells %#02x, want %U to spell %#02x", r, seen[r], 0x100+i, want)
		}
	}
}

func span(from, to byte) []byte {
	var list []byte
	for b := from; b <= to; b++ {
		list = append(list, b)
	}
	return list
}
