package lowrank

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestData(t *testing.T) {
	a, err := NewData(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if a.Active() != 0 {
		t.Errorf("got active share %v of nothing, want 0", a.Active())
	}
	x := []float32{1, 2, 3, 4}
	for _, err := range []error{a.Add(x, []float32{0, -1, 5, 0, 0, 0}), a.Add([]float32{5, 6}, []float32{1, 2, -3}), a.Add(nil, nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	x[0] = 99 // it was copied
	for i, want := range []struct {
		x, values []float32
		ids       []int32
	}{
		{[]float32{1, 2}, []float32{5}, []int32{2}},
		{[]float32{3, 4}, nil, nil},
		{[]float32{5, 6}, []float32{1, 2}, []int32{0, 1}},
	} {
		ids, values := a.active(i)
		if !slices.Equal(a.row(i), want.x) || !slices.Equal(ids, want.ids) || !slices.Equal(values, want.values) {
			t.Errorf("token %d: got %v, %v, %v, want %v", i, a.row(i), ids, values, want)
		}
	}
	if a.Tokens() != 3 || a.Active() != 3./9 || !near(a.meanValue(), 8./3, 1e-12) {
		t.Errorf("got %d tokens, active share %v, mean %v", a.Tokens(), a.Active(), a.meanValue())
	}
}

func TestDataRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	a, _ := NewData(2, 3)
	if err := a.Add([]float32{1, 2}, []float32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		x, pre []float32
		want   string
	}{
		{[]float32{1, 2, 3, nan}, make([]float32, 6), "lowrank: add data: token 2, input 1: got NaN, want a finite number"},
		{make([]float32, 4), []float32{0, 0, 0, 0, inf, 0}, "lowrank: add data: token 2, pre-activation of neuron 1: got -Inf"},
		{make([]float32, 3), make([]float32, 3), "got 3 inputs and 3 pre-activations, want multiples of 2 and 3"},
		{make([]float32, 4), make([]float32, 3), "got 4 inputs and 3 pre-activations"},
	} {
		if err := a.Add(c.x, c.pre); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
		if a.Tokens() != 1 || len(a.x) != 2 {
			t.Fatalf("got %d tokens after an error, want 1", a.Tokens())
		}
	}
	for _, s := range [][2]int{{0, 1}, {1, 0}, {-1, 5}} {
		if _, err := NewData(s[0], s[1]); err == nil {
			t.Errorf("new data %v: got no error", s)
		}
	}
}
