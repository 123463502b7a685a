package main

import "testing"

func TestLayerRanges(t *testing.T) {
	for want, set := range map[string][]bool{
		"":          {false, false},
		"0-2":       {true, true, true},
		"1, 3-4, 6": {false, true, false, true, true, false, true},
		"0, 2":      {true, false, true, false},
	} {
		if got := layerRanges(set); got != want {
			t.Errorf("%v: got %q, want %q", set, got, want)
		}
	}
}
