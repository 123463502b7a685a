package lowrank

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// The names of a sidecar's sections: of the factors in use, and of those of a
// training that has not ended.
const (
	SectionName = "lowrank"
	PartialName = "lowrank.partial"
)

// sectionJSON is a section's JSON.
type sectionJSON struct {
	// Training names what the factors were trained on and how: a training
	// with the same name goes on where that one ended.
	Training string      `json:"training"`
	Ranks    map[int]int `json:"ranks"` // by layer
}

// NewSection is the factors of layers, by number, as a section: of layer N the
// tensors "N.a", "N.b" and "N.bias".
func NewSection(training string, layers map[int]Factors) (sidecar.Section, error) {
	j := sectionJSON{Training: training, Ranks: make(map[int]int)}
	s := sidecar.Section{Tensors: make(map[string]sidecar.Tensor)}
	for l, f := range layers {
		ts, err := f.Encode(prefix(l))
		if err != nil {
			return s, fmt.Errorf("lowrank: layer %d: %w", l, err)
		}
		for _, t := range ts {
			s.Tensors[t.Name] = toSidecar(t)
		}
		j.Ranks[l] = f.Rank
	}
	var err error
	s.JSON, err = json.Marshal(j)
	return s, err
}

func prefix(layer int) string { return fmt.Sprintf("%d.", layer) }

// toSidecar is a tensor as a sidecar holds it: Q8_0 as its rows' bytes.
func toSidecar(t Tensor) sidecar.Tensor {
	switch t.DType {
	case tensor.Q8_0:
		rows := t.Shape[0]
		return sidecar.Tensor{DType: "U8", Shape: []int64{rows, int64(len(t.Data)) / rows}, Data: t.Data}
	case tensor.F16:
		return sidecar.Tensor{DType: "F16", Shape: t.Shape, Data: t.Data}
	default:
		return sidecar.Tensor{DType: "F32", Shape: t.Shape, Data: t.Data}
	}
}

// fromSidecar is the inverse of toSidecar. It is false for what that does not
// make.
func fromSidecar(name string, t sidecar.Tensor) (Tensor, bool) {
	got := Tensor{Name: name, Shape: t.Shape, Data: t.Data}
	switch t.DType {
	case "F16":
		got.DType = tensor.F16
	case "F32":
		got.DType = tensor.F32
	case "U8":
		block := tensor.Q8_0.RowBytes(tensor.QuantBlock)
		if len(t.Shape) != 2 || t.Shape[1]%block != 0 {
			return Tensor{}, false
		}
		got.DType = tensor.Q8_0
		got.Shape = []int64{t.Shape[0], t.Shape[1] / block * tensor.QuantBlock}
	default:
		return Tensor{}, false
	}
	return got, true
}

// ReadSection reads the factors of a model of layers layers of ffn neurons with
// inputs of length d, and what they were trained by.
func ReadSection(s sidecar.Section, layers, d, ffn int) (training string, factors map[int]Factors, err error) {
	factors = make(map[int]Factors)
	training, err = read(s, layers, func(l int) error {
		f, err := Decode(prefix(l), d, ffn, tensorsOf(s))
		factors[l] = f
		return err
	})
	return training, factors, err
}

// ReadLayers is ReadSection for multiplying: [layers], sharing the section's
// tensors. Layers are checked side by side, since every start of a model waits
// for that.
func ReadLayers(s sidecar.Section, layers, d, ffn int) ([]Layer, error) {
	ls := make([]Layer, layers)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	_, err := read(s, layers, func(l int) error {
		g.Go(func() (err error) {
			ls[l], err = readLayer(prefix(l), d, ffn, tensorsOf(s))
			return err
		})
		return nil
	})
	return ls, cmp.Or(err, g.Wait())
}

// readLayer is Decode for multiplying.
func readLayer(prefix string, d, ffn int, find func(name string) (Tensor, bool)) (Layer, error) {
	t, err := findAll(prefix, d, ffn, find)
	if err != nil {
		return Layer{}, err
	}
	f := Factors{D: d, FFN: ffn, Rank: int(t.a.Shape[0]), Bias: make([]float32, ffn)}
	return stored(f, t.a.Data, t.b.Data), cmp.Or(t.a.check(d), t.b.check(f.Rank), t.bias.decode(0, f.Bias))
}

// read calls each for every layer that a section has factors of.
func read(s sidecar.Section, layers int, each func(layer int) error) (training string, err error) {
	var j sectionJSON
	if err := json.Unmarshal(s.JSON, &j); err != nil {
		return "", fmt.Errorf("lowrank: read section: %w", err)
	}
	for l := range j.Ranks {
		if l < 0 || l >= layers {
			return "", fmt.Errorf("lowrank: read section: got layer %d, want 0 to %d", l, layers-1)
		}
		if err := each(l); err != nil {
			return "", err
		}
	}
	return j.Training, nil
}

// tensorsOf finds a section's tensors.
func tensorsOf(s sidecar.Section) func(string) (Tensor, bool) {
	return func(name string) (Tensor, bool) {
		t, ok := s.Tensors[name]
		if !ok {
			return Tensor{}, false
		}
		return fromSidecar(name, t)
	}
}
