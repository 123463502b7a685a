// Package text embeds a megabyte of English prose, the text that the tools
// which look at activations use where the user names none. It is taken from
// public-domain books, by authors that the embedded model was trained on, so
// what is measured on it is what the model does on familiar ground.
package text

import _ "embed" // for the directive below

// Sample is the text, UTF-8 with lines as they were printed.
//
//go:embed sample.txt
var Sample string
