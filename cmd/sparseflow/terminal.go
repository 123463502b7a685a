package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/vbauerster/mpb/v8/cwriter"
)

// isTerminal reports whether f, a file, is a terminal.
func isTerminal(f any) bool {
	fd, ok := f.(interface{ Fd() uintptr })
	return ok && cwriter.IsTerminal(int(fd.Fd()))
}

// printText writes a model's text. On a terminal control characters are shown
// and not obeyed: a model can have learned to clear the screen.
func (a *app) printText(s string) {
	if a.terminal {
		s = visible(s)
	}
	fmt.Fprint(a.stdout, s)
}

// printDimmed shows on a terminal what is not the text itself, dimmed unless the
// user wants no colours (https://no-color.org).
func (a *app) printDimmed(s string) {
	switch {
	case !a.terminal:
	case a.colourless():
		fmt.Fprint(a.stdout, visible(s))
	default:
		fmt.Fprint(a.stdout, "\x1b[2m", visible(s), "\x1b[0m")
	}
}

func (a *app) colourless() bool {
	return slices.ContainsFunc(a.environ, func(kv string) bool { return strings.HasPrefix(kv, "NO_COLOR=") && kv != "NO_COLOR=" })
}

// visible is s with control characters, but for line ends and tabs, written
// as escapes.
func visible(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
