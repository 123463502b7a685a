package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

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

// Type is the words, of many the first ones: a wrong one is answered with all.
func (e enum) Type() string {
	all := strings.Join(e.words, "|")
	if len(all) <= mostWords {
		return all
	}
	return all[:strings.LastIndexByte(all[:mostWords], '|')] + "|..."
}

// mostWords is the longest list of words in help.
const mostWords = 30

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

// value is a flag of a type of its own.
type value[T any] struct {
	to    *T
	kind  string // what help calls it
	parse func(string) (T, error)
	show  func(T) string // a default, for help; nil: there is none to show
}

func (v value[T]) Type() string { return v.kind }

func (v value[T]) String() string {
	if v.show == nil {
		return ""
	}
	return v.show(*v.to)
}

func (v value[T]) Set(s string) error {
	got, err := v.parse(strings.TrimSpace(s))
	if err == nil {
		*v.to = got
	}
	return err
}

// device is what computes.
func device(to *string) pflag.Value {
	return value[string]{to, "auto|cpu", func(s string) (string, error) {
		w := strings.ToLower(s)
		if w != "auto" && w != "cpu" {
			return "", fmt.Errorf("got %q, but this build has no GPU backend; want auto or cpu", s)
		}
		return w, nil
	}, func(w string) string { return w }}
}

// percentage is a share, written as 0.5%.
func percentage(to *float64) pflag.Value {
	return value[float64]{to, "share%", func(s string) (float64, error) {
		num, ok := strings.CutSuffix(s, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if !ok || err != nil || !(v > 0 && v <= 100) {
			return 0, fmt.Errorf("got %q, want a share above 0%% such as 0.5%%", s)
		}
		return v / 100, nil
	}, nil}
}

// shares is a list of shares with commas between them, as in 20%,58%, or all.
func shares(to *[]float64) pflag.Value {
	return value[[]float64]{to, "list", func(s string) (list []float64, err error) {
		if s == "all" {
			s = benchSweep
		}
		for _, word := range strings.Split(s, ",") {
			b, err := sparseflow.ParseBudget(strings.TrimSpace(word))
			if err != nil || b.Share == 0 {
				return nil, fmt.Errorf("got %q, want shares of the weights such as 20%%,58%%", word)
			}
			list = append(list, b.Share)
		}
		return list, nil
	}, nil}
}

// budget is a share of the weights or a size.
func budget(to *sparseflow.Budget) pflag.Value {
	return value[sparseflow.Budget]{to, "size|share%", parseBudget, nil}
}

func parseBudget(s string) (b sparseflow.Budget, err error) {
	b, err = sparseflow.ParseBudget(s)
	if err != nil {
		return b, fmt.Errorf("got %q, want a share of the weights such as 58%% or a size such as 4GB or 4GiB", s)
	}
	if b.Share > 1 {
		return b, fmt.Errorf("got %v, want at most 100%%, which is all weights, or a size such as 4GB", b)
	}
	// Nobody means so few bytes who gives no unit.
	if n, err := strconv.ParseFloat(s, 64); err == nil && n < 1e4 {
		hint := fmt.Sprintf("%.6g%%", n)
		if n < 1 {
			hint = fmt.Sprintf("%.6g%%", 100*n)
		} else if n > 100 {
			hint = fmt.Sprintf("%vMB", n)
		}
		return b, fmt.Errorf("got %v bytes; did you mean %s?", n, hint)
	}
	return b, nil
}

// ratio is a number from 0 to 1 that can be left out.
func ratio(to **float64) pflag.Value {
	return value[*float64]{to, "ratio", func(s string) (*float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return nil, fmt.Errorf("got %q, want a number from 0 to 1", s)
		}
		return &v, nil
	}, nil}
}

// tokenIDs are token ids with commas or spaces between them.
func tokenIDs(to *[]int32) pflag.Value {
	return value[[]int32]{to, "ids", parseIDs, nil}
}

func parseIDs(s string) ([]int32, error) {
	// A list as JSON has it, in brackets, is what another program's output
	// looks like.
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	ids := []int32{}
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		id, err := strconv.ParseInt(f, 10, 64)
		if err != nil || id < 0 || id > math.MaxInt32 {
			return nil, fmt.Errorf("got %q, want token ids such as 2,5,7", f)
		}
		ids = append(ids, int32(id))
	}
	if len(ids) == 0 {
		return nil, errors.New("got no token id, want some such as 2,5,7")
	}
	return ids, nil
}

// simDisk is a simulated disk, none if not given.
func simDisk(to **sparseflow.SimDisk) pflag.Value {
	return value[*sparseflow.SimDisk]{to, "disk", func(s string) (*sparseflow.SimDisk, error) {
		d, err := sparseflow.ParseSimDisk(s)
		return &d, err
	}, nil}
}
