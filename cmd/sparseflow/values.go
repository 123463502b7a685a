package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sparseflow/sparseflow"
)

// The flag types of this program. Their errors say what they got and what they
// want; flagError puts the flag's name before that.

// enum is a flag that takes one of a few words.
type enum struct {
	to    *string
	words []string
}

func (e enum) String() string { return *e.to }
func (e enum) Type() string   { return strings.Join(e.words, "|") }

func (e enum) Set(s string) error {
	w := strings.ToLower(strings.TrimSpace(s))
	if !slices.Contains(e.words, w) {
		return fmt.Errorf("got %q, want %s%s", s, list(e.words), nearest(w, e.words, ""))
	}
	*e.to = w
	return nil
}

// list is "a, b or c".
func list(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// deviceWord is an enum of what this build can compute on.
type deviceWord struct{ to *string }

func (d deviceWord) String() string { return *d.to }
func (d deviceWord) Type() string   { return "auto|cpu" }

func (d deviceWord) Set(s string) error {
	switch w := strings.ToLower(strings.TrimSpace(s)); w {
	case "auto", "cpu":
		*d.to = w
		return nil
	}
	return fmt.Errorf("got %q, but this build has no GPU backend; want auto or cpu", s)
}

// percentage is a share, written as 0.5%.
type percentage struct{ to *float64 }

func (p percentage) Type() string { return "share%" }

func (p percentage) String() string {
	if *p.to == 0 {
		return ""
	}
	return strconv.FormatFloat(100**p.to, 'g', 6, 64) + "%"
}

func (p percentage) Set(s string) error {
	num, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if !ok || err != nil || !(v > 0 && v <= 100) {
		return fmt.Errorf("got %q, want a share above 0%% such as 0.5%%", s)
	}
	*p.to = v / 100
	return nil
}

// shares is a list of shares with commas between them, as in 20%,58%, or all.
type shares struct{ to *[]float64 }

func (s shares) String() string { return "" }
func (s shares) Type() string   { return "list" }

func (s shares) Set(text string) error {
	var list []float64
	if text == "all" {
		text = benchSweep
	}
	for _, word := range strings.Split(text, ",") {
		b, err := sparseflow.ParseBudget(strings.TrimSpace(word))
		if err != nil || b.Share == 0 {
			return fmt.Errorf("got %q, want shares of the weights such as 20%%,58%%", word)
		}
		list = append(list, b.Share)
	}
	*s.to = list
	return nil
}

// budget is a share of the weights or a size.
type budget struct{ to *sparseflow.Budget }

func (b budget) Type() string { return "size|share%" }

func (b budget) String() string {
	if b.to.IsZero() {
		return ""
	}
	return b.to.String()
}

func (b budget) Set(s string) error {
	v, err := sparseflow.ParseBudget(s)
	if err != nil {
		return fmt.Errorf("got %q, want a share of the weights such as 58%% or a size such as 4GB or 4GiB", s)
	}
	if v.Share > 1 {
		return fmt.Errorf("got %v, want at most 100%%, which is all weights, or a size such as 4GB", v)
	}
	// Nobody means so few bytes who gives no unit.
	if n, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && n < 1e4 {
		hint := fmt.Sprintf("%.6g%%", n)
		if n < 1 {
			hint = fmt.Sprintf("%.6g%%", 100*n)
		} else if n > 100 {
			hint = fmt.Sprintf("%vMB", n)
		}
		return fmt.Errorf("got %v bytes; did you mean %s?", n, hint)
	}
	*b.to = v
	return nil
}

// ratio is a number from 0 to 1 that can be left out.
type ratio struct{ to **float64 }

func (r ratio) Type() string { return "ratio" }

func (r ratio) String() string {
	if *r.to == nil {
		return ""
	}
	return strconv.FormatFloat(**r.to, 'g', -1, 64)
}

func (r ratio) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("got %q, want a number from 0 to 1", s)
	}
	*r.to = &v
	return nil
}

// tokenIDs are token ids with commas or spaces between them.
type tokenIDs struct{ to *[]int32 }

func (t tokenIDs) Type() string { return "ids" }

func (t tokenIDs) String() string { return "" }

func (t tokenIDs) Set(s string) error {
	// A list as JSON has it, in brackets, is what another program's output
	// looks like.
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	ids := []int32{}
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		id, err := strconv.ParseInt(f, 10, 64)
		if err != nil || id < 0 || id > math.MaxInt32 {
			return fmt.Errorf("got %q, want token ids such as 2,5,7", f)
		}
		ids = append(ids, int32(id))
	}
	if len(ids) == 0 {
		return fmt.Errorf("got no token id, want some such as 2,5,7")
	}
	*t.to = ids
	return nil
}

// simDisk is a simulated disk, none if not given.
type simDisk struct{ to **sparseflow.SimDisk }

func (d simDisk) String() string {
	if d.to == nil || *d.to == nil {
		return ""
	}
	return (*d.to).String()
}

func (d simDisk) Type() string { return "disk" }

func (d simDisk) Set(s string) error {
	v, err := sparseflow.ParseSimDisk(s)
	if err == nil {
		*d.to = &v
	}
	return err
}
