package tensor

import (
	"strings"
	"testing"
)

// The layers of Gemma 3 270M, of 18, whose down and v have more bits in its
// Q4_K_M file as it is handed around, and the types there: its rows of 640 are
// those that super blocks do not fill.
func TestMixIsThatOfFiles(t *testing.T) {
	m, err := ParseMix("Q4_K_M")
	if err != nil {
		t.Fatal(err)
	}
	more := map[int]bool{0: true, 1: true, 4: true, 7: true, 10: true, 13: true, 15: true, 16: true, 17: true}
	for layer := range 18 {
		at := func(r Role, cols int) DType { return m.Type(Place{Role: r, Layer: layer, Layers: 18, Cols: cols}) }
		down, v := Q4_K, Q5_0
		if more[layer] {
			down, v = Q6_K, Q8_0
		}
		for _, c := range []struct {
			what      string
			got, want DType
		}{
			{"down", at(DownRole, 2048), down}, {"v", at(AttnVRole, 640), v}, {"k", at(AttnKRole, 640), Q5_0},
			{"output", at(AttnOutRole, 1024), Q4_K}, {"gate", at(OtherRole, 640), Q5_0},
			{"embedding", at(HeadRole, 640), Q8_0}, {"embedding apart", at(EmbeddingRole, 4096), Q4_K}, {"head", at(HeadRole, 4096), Q6_K},
		} {
			if c.got != c.want {
				t.Errorf("layer %d: %s: got %v, want %v", layer, c.what, c.got, c.want)
			}
		}
	}
}

func TestMixes(t *testing.T) {
	place := func(r Role, experts int) Place {
		return Place{Role: r, Layer: 3, Layers: 32, Experts: experts, Cols: 4096}
	}
	for _, c := range []struct {
		mix  string
		p    Place
		want DType
	}{
		{"q4_k_m", place(AttnVRole, 8), Q8_0}, {"q4_k_m", place(AttnKRole, 8), Q8_0}, {"q4_k_m", place(AttnOutRole, 8), Q5_K},
		{"q4_k_m", place(AttnVRole, 0), Q6_K}, {"q4_k_m", place(AttnKRole, 128), Q4_K}, {"q4_k_m", place(AttnQKVRole, 0), Q5_K},
		{"q5_k_m", place(AttnQKVRole, 0), Q6_K}, {"q5_k_m", place(AttnKRole, 0), Q5_K},
		{"q4_k", place(HeadRole, 0), Q4_K}, {"q8_0", place(DownRole, 8), Q8_0}, {"f16", place(AttnVRole, 8), F16},
	} {
		m, err := ParseMix(c.mix)
		if err != nil || m.String() != c.mix {
			t.Fatalf("ParseMix(%q): got %v, %v", c.mix, m, err)
		}
		if got := m.Type(c.p); got != c.want {
			t.Errorf("%s at %+v: got %v, want %v", c.mix, c.p, got, c.want)
		}
	}
	for _, name := range []string{"q4_k_s", "iq4_xs", "mxfp4", ""} {
		if _, err := ParseMix(name); err == nil || !strings.Contains(err.Error(), "q6_k, q4_k_m, q5_k_m") {
			t.Errorf("ParseMix(%q): got error %v", name, err)
		}
	}
}
