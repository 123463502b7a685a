// Package suggest finds the known name that a misspelt one most likely meant, for
// errors of the kind "unknown flag --temprature, did you mean --temperature".
//
// Names are compared by optimal string alignment: the least number of
// insertions, deletions, substitutions and swaps of neighbours, no part edited
// twice (Damerau 1964, "A technique for computer detection and correction of
// spelling errors"). Letter case does not count, and '-' and '_' are the same,
// since one option is top-k as a flag and TOP_K in the environment.
package suggest

import (
	"strings"
	"unicode/utf8"
)

// Match returns the name among those known that is nearest to word, as it is
// spelled there; of equally near ones the first. It reports false where none is
// near enough to be worth proposing: up to a third of the longer of the two may
// differ, rounded to the nearest whole edit. Words of any length are cheap, since
// names whose length alone differs by more are not compared.
func Match(word string, among []string) (string, bool) {
	best, nearest := "", -1
	from := []rune(fold(word))
	for _, name := range among {
		// Upper and lower case of a letter are one rune each, so folding keeps
		// the length.
		length := utf8.RuneCountInString(name)
		limit := (max(len(from), length) + 1) / 3
		if max(len(from)-length, length-len(from)) > limit {
			continue
		}
		d := distance(from, []rune(fold(name)))
		if d <= limit && (nearest < 0 || d < nearest) {
			best, nearest = name, d
		}
	}
	return best, nearest >= 0
}

// fold makes spellings of one name equal.
func fold(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// distance returns the optimal string alignment distance of a and b in edits. It
// keeps three rows of the table of distances between prefixes, [len(b)+1] edits
// each: a swap looks back two.
func distance(a, b []rune) int {
	before := make([]int, len(b)+1)
	previous := make([]int, len(b)+1)
	current := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range a {
		current[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			edits := min(previous[j]+cost, previous[j+1]+1, current[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				edits = min(edits, before[j-1]+1)
			}
			current[j+1] = edits
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
