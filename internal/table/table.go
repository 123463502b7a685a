// Package table prints what commands say to people: rows in aligned columns,
// wrapped lines, and numbers to the figures that matter.
package table

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Width is the columns that a terminal has at least.
const Width = 80

// Table is rows with their columns aligned.
type Table struct {
	Right []bool // by column: to the right, as numbers are; columns beyond are to the left
	rows  [][]string
}

// Numbers is a table whose columns are to the right, but for the first left ones.
func Numbers(left int) *Table {
	t := &Table{}
	for i := range 32 {
		t.Right = append(t.Right, i >= left)
	}
	return t
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Rows is how many rows were added.
func (t *Table) Rows() int { return len(t.rows) }

// Print writes the rows, two spaces between columns.
func (t *Table) Print(w io.Writer) {
	var width []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range t.rows {
		var line strings.Builder
		for i, c := range r {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < len(t.Right) && t.Right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// Column is a column of figures about things of one kind.
type Column[T any] struct {
	Name string
	Wide bool // for tables that may be wider than Width
	Cell func(T) string
}

// Columns adds the head and a row for each thing. Without wide the wide columns
// are left out.
func Columns[T any](t *Table, things []T, columns []Column[T], wide bool) {
	var head []string
	rows := make([][]string, len(things))
	for _, c := range columns {
		if c.Wide && !wide {
			continue
		}
		head = append(head, c.Name)
		for i, x := range things {
			rows[i] = append(rows[i], c.Cell(x))
		}
	}
	t.Add(head...)
	for _, r := range rows {
		t.Add(r...)
	}
}

// Wrap breaks text between words into lines of at most Width columns, the
// second and the following ones indented.
func Wrap(text, indent string) string {
	var b strings.Builder
	n := 0
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case n+1+size > Width:
			b.WriteString("\n" + indent)
			n = len(indent)
		default:
			b.WriteString(" ")
			n++
		}
		b.WriteString(word)
		n += size
	}
	return b.String()
}

// Count is a number of things.
func Count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// Figures is a speed to about three figures.
func Figures(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// Share is a share in percent, to a tenth.
func Share(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
