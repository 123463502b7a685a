package profile

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
)

// What the engine hands over in pieces and segments comes out as one text.
func TestRecorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const layers, ffn, d = 2, 9, 3
		tokens := rapid.IntRange(1, 200).Draw(t, "tokens")
		p := config.ModelProfile{Layers: layers, FFN: ffn, HiddenSize: d}
		in := Input{Window: tokens, KeepBytes: int64(rapid.IntRange(0, 300*16).Draw(t, "keep"))}
		var done, all int64
		in.Progress = func(n, total int64) { done, all = n, total }
		r := newRecorder(p, tokens, in)

		seed := rapid.Uint64().Draw(t, "seed")
		active := func(layer, token, id int) bool { return (seed>>(token%50)+uint64(layer*7+id*id))%3 == 0 }
		input := func(layer, token, i int) float32 { return float32((token*5 + layer*3 + i*i) % 11) }
		for first := 0; first < tokens; {
			n := min(rapid.IntRange(1, 90).Draw(t, "piece"), tokens-first)
			for layer := range layers {
				ahead, exact := device.NewAct(n, d), device.NewAct(n, d)
				for i := range n * d {
					exact.Data[i] = input(layer, first+i/d, i%d)
					ahead.Data[i] = -exact.Data[i]
				}
				r.input(layer, ahead, exact)
				cut := int32(rapid.IntRange(0, ffn).Draw(t, "cut"))
				for _, ids := range [][]int32{span(0, cut), span(cut, ffn)} {
					h := make([]float32, len(ids)*n)
					for i, id := range ids {
						for token := range n {
							if active(layer, first+token, int(id)) {
								h[i*n+token] = 0.25
							}
						}
					}
					r.neurons(layer, n, ids, h)
				}
			}
			first += n
		}

		if want := min(tokens, int(in.KeepBytes/KeptBytes(p, 1))); r.out.Kept != want || done != all || done != int64(layers*tokens) {
			t.Fatalf("got %d tokens kept and progress %d of %d, want %d and %d", r.out.Kept, done, all, want, layers*tokens)
		}
		var before cosine
		for layer := range layers {
			l := &r.out.layers[layer]
			for token := range tokens {
				var want []int32
				for id := range int32(ffn) {
					if active(layer, token, int(id)) {
						want = append(want, id)
						l.folds[token/64%10][id]--
					}
				}
				if token < r.out.Kept && !slices.Equal(l.sets.appendTo(nil, token), want) {
					t.Fatalf("layer %d, token %d: got %v, want %v", layer, token, l.sets.appendTo(nil, token), want)
				}
				if layer > 0 {
					row := func(layer int) []float32 {
						return []float32{input(layer, token, 0), input(layer, token, 1), input(layer, token, 2)}
					}
					before.add(row(0), row(1))
				}
			}
			for f, left := range l.folds {
				if !slices.Equal(left, make([]uint32, ffn)) {
					t.Fatalf("layer %d: got counts of fold %d off by %v", layer, f, left)
				}
			}
			if m := l.lookahead.mean(); m == nil || math.Abs(*m+1) > 1e-12 {
				t.Fatalf("layer %d: got a cosine with the forecast of %v, want -1", layer, m)
			}
		}
		if r.out.layers[1].previous != before {
			t.Fatalf("got cosines %+v with the layer before, want %+v", r.out.layers[1].previous, before)
		}
	})
}

// span is the neurons from first up to end.
func span(first, end int32) (ids []int32) {
	for id := first; id < end; id++ {
		ids = append(ids, id)
	}
	return ids
}

func TestMean(t *testing.T) {
	layer := func(active float64, hot *float64) Layer { return Layer{Stats: Stats{Active: active, Hot80: hot}} }
	m := mean([]Layer{layer(0.1, new(0.5)), layer(0.3, new(0.7)), layer(0.2, nil)})
	if math.Abs(m.Active-0.2) > 1e-12 || math.Abs(*m.Hot80-0.6) > 1e-12 || m.Hot95 != nil {
		t.Errorf("got active %v, hot80 %v, hot95 %v, want 0.2, 0.6 and none", m.Active, *m.Hot80, m.Hot95)
	}
	var all missed
	for wanted, misses := range map[int]int{300: 60, 100: 60, 0: 0} {
		layer := missed{wanted: wanted}
		for i := range layer.counts {
			layer.counts[i][3] = misses
		}
		all.add(layer)
	}
	rates := all.rates()
	for _, got := range [][]float64{rates.LFU, rates.LRU, rates.FrozenHot, rates.Optimal} {
		if math.Abs(got[3]-0.3) > 1e-12 {
			t.Errorf("got a miss rate of %v, want 0.3, three parts of 0.2 and one of 0.6", got[3])
		}
	}
}
