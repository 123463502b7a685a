package transfer

import (
	"math"
	"slices"
	"testing"
)

// What is above the bar is wanted: not what is equal to it, and not what is no
// number.
func TestAbove(t *testing.T) {
	nan := float32(math.NaN())
	got := above([]int32{7}, []float32{0.5, 0.6, -1, nan, 2, 0.5}, 0.5)
	if want := []int32{7, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
