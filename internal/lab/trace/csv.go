package trace

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mostExperts is the most experts of all layers that a CSV file may tell of: ten
// times as many as any published model has.
const mostExperts = 1 << 18

// csvRows is a routing trace under way.
type csvRows struct {
	*Trace
	at     map[string]int // columns by name
	key    string         // turn and step under way
	step   [][]int32      // [layers] its experts
	having int            // layers of the first step that have experts
}

// parseCSV reads a routing trace as BigMoeOnEdge writes it: comments, which give the
// model and its numbers of layers and experts, the names of columns, and a row for
// each expert that a layer chose for a token. Only rows of decoding (phase 1) count.
func parseCSV(b []byte) (*Trace, error) {
	r := &csvRows{Trace: &Trace{Info: Info{Text: "a routing trace", Stride: 1}}}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		line := strings.TrimSpace(string(line))
		var err error
		switch {
		case line == "":
		case line[0] == '#':
			err = r.comment(line[1:])
		case r.at == nil:
			err = r.header(line)
		default:
			err = r.row(strings.Split(line, ","))
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if r.Steps() == 0 {
		return nil, errors.New("got no row of phase 1, want tokens that were decoded")
	}
	return r.Trace, r.check()
}

// comment takes what it knows of a comment, words of the form name=value.
func (r *csvRows) comment(text string) (err error) {
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "model":
			r.Model = value
		case "n_layer":
			r.Layers, err = whole(name, value, maxLayers)
		case "n_expert":
			r.FFN, err = whole(name, value, mostExperts)
		case "expert_bytes":
			// The sizes of layers differ a little, by the types of their weights.
			var n int
			n, err = whole(name, value, 1<<30)
			r.Stride = max(r.Stride, int64(n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// whole is the whole number from 0 to most that value says.
func whole(name, value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s: got %.40q, want a number from 0 to %d", name, value, most)
	}
	return n, nil
}

// header takes the names of the columns.
func (r *csvRows) header(line string) error {
	if r.Layers < 1 || r.FFN < 1 || r.Layers*r.FFN > mostExperts {
		return fmt.Errorf("got %d layers of %d experts in the comments before, want n_layer=L and n_expert=E, at most %d in all", r.Layers, r.FFN, mostExperts)
	}
	r.at = map[string]int{}
	for i, name := range strings.Split(line, ",") {
		if _, ok := r.at[name]; ok {
			return fmt.Errorf("got column %.40q twice, want each once", name)
		}
		r.at[name] = i
	}
	for _, name := range []string{"phase", "step", "layer", "expert"} {
		if _, ok := r.at[name]; !ok {
			return fmt.Errorf("got columns %.80q, want phase, step, layer and expert among them", line)
		}
	}
	r.Sets, r.step = make([]Sets, r.Layers), make([][]int32, r.Layers)
	return nil
}

// row takes an expert that a layer chose.
func (r *csvRows) row(cells []string) error {
	if len(cells) != len(r.at) {
		return fmt.Errorf("got %d cells, want %d", len(cells), len(r.at))
	}
	if cells[r.at["phase"]] != "1" {
		return nil
	}
	key := cells[r.at["step"]]
	if i, ok := r.at["turn"]; ok {
		key = cells[i] + "," + key
	}
	layer, err := whole("layer", cells[r.at["layer"]], r.Layers-1)
	if err != nil {
		return err
	}
	expert, err := whole("expert", cells[r.at["expert"]], r.FFN-1)
	if err != nil {
		return err
	}
	if key != r.key {
		if err := r.end(); err != nil {
			return err
		}
		r.key = key
	}
	r.step[layer] = append(r.step[layer], int32(expert))
	return nil
}

// end ends the step under way, if there is one. All have the same layers, and half of
// them at least: otherwise a small file could claim much.
func (r *csvRows) end() error {
	having := 0
	for l, ids := range r.step {
		slices.Sort(ids)
		r.TopK = max(r.TopK, len(ids))
		if len(slices.Compact(ids)) < len(ids) {
			return fmt.Errorf("step %s: got an expert twice in layer %d, want each once", r.key, l)
		}
		if len(ids) > 0 {
			having++
		}
	}
	if having == 0 {
		return nil
	}
	if r.having = cmp.Or(r.having, having); having != r.having || 2*having < r.Layers {
		return fmt.Errorf("step %s: got experts of %d of %d layers, want %d", r.key, having, r.Layers, max(r.having, (r.Layers+1)/2))
	}
	if having < r.Layers {
		r.Having = having
	}
	for l, ids := range r.step {
		r.Sets[l].Add(ids)
		r.step[l] = ids[:0]
	}
	return nil
}
