package main

import (
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/hub"
	"github.com/sparseflow/sparseflow/internal/sample"
)

// drawnText is what the text of drawnIDs is called.
const drawnText = "ids drawn by Zipf's law"

// drawnIDs is the text that a synthetic model is measured on unless it is given
// one: n tokens from none of the draws that it was made with, the same each
// time.
func drawnIDs(vocab, n int) []int32 { return sample.DrawTokens(vocab, n, 0) }

// isSynthetic reports whether a model's weights were drawn. It reads headers
// only.
func isSynthetic(model string) (bool, error) {
	src, err := hub.Find(model)
	if err != nil {
		return false, err
	}
	layout, err := convert.Layout(src)
	if err != nil {
		return false, err
	}
	return layout.Profile().Synthetic, nil
}
