package main

import (
	"io"

	text "github.com/sparseflow/sparseflow/internal/table"
)

// table prints rows with their columns aligned, numbers to the right.
type table struct {
	right []bool // by column; columns beyond are to the left
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	to := text.Table{Right: t.right}
	for _, r := range t.rows {
		to.Add(r...)
	}
	to.Print(w)
}
