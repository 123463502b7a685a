package main

import "github.com/sparseflow/sparseflow/internal/sample"

// drawnText is what the text of drawnIDs is called.
const drawnText = "ids drawn by Zipf's law"

// drawnIDs is the text that a synthetic model is measured on unless it is given
// one: n tokens from none of the draws that it was made with, the same each
// time.
func drawnIDs(vocab, n int) []int32 { return sample.DrawTokens(vocab, n, 0) }
