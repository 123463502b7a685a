package cache

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// Counts is how often each neuron of a model was active on a text: what a
// profile leaves behind for the cache.
type Counts struct {
	Tokens  int
	Neurons [][]uint32 // [layers][ffn]
}

// NewCounts is no token counted yet.
func NewCounts(layers, ffn int) *Counts {
	c := &Counts{Neurons: make([][]uint32, layers)}
	for l := range c.Neurons {
		c.Neurons[l] = make([]uint32, ffn)
	}
	return c
}

// Observe counts the activations h [neurons, tokens] of the neurons ids of a
// layer. It is what an engine's observer is given. Tokens is for the caller to
// count, since a layer may come in several segments.
func (c *Counts) Observe(layer, tokens int, ids []int32, h []float32) {
	n := c.Neurons[layer]
	for i, id := range ids {
		for _, v := range h[i*tokens:][:tokens] {
			if v != 0 {
				n[id]++
			}
		}
	}
}

// Active is the share of a layer's neurons that were active at a token.
func (c *Counts) Active(layer int) float64 {
	sum := 0.0
	for _, n := range c.Neurons[layer] {
		sum += float64(n)
	}
	return sum / float64(max(1, len(c.Neurons[layer]))) / float64(max(1, c.Tokens))
}

// Hottest is the neurons of a layer, the one that was active most often first;
// equals by number.
func (c *Counts) Hottest(layer int) []int32 { return Hottest(c.Neurons[layer]) }

// Hottest is the indices of count, that of the largest first; equals by index.
func Hottest(count []uint32) []int32 {
	// A start sorts every neuron of the model several times: by digits, the last
	// first, of which a text's counts have two.
	const bits, mask = 11, 1<<11 - 1
	order, sorted := make([]int32, len(count)), make([]int32, len(count))
	most := uint32(0)
	for i, n := range count {
		order[i], most = int32(i), max(most, n)
	}
	for shift := 0; most>>shift > 0; shift += bits {
		var at [mask + 1]int32 // where the next neuron of a digit goes
		for _, n := range count {
			at[n>>shift&mask]++
		}
		first := int32(0)
		for digit := mask; digit >= 0; digit-- {
			at[digit], first = first, first+at[digit]
		}
		for _, i := range order {
			p := &at[count[i]>>shift&mask]
			sorted[*p] = i
			*p++
		}
		order, sorted = sorted, order
	}
	return order
}

// CountsSection is the section of a sidecar that counts are stored in: the JSON
// {"tokens": N}, and the tensor "counts", U32 [layers, ffn].
const CountsSection = "profile"

// countsJSON is the section's JSON.
type countsJSON struct {
	Tokens int `json:"tokens"`
}

// Section is the counts as a section of a sidecar.
func (c *Counts) Section() (sidecar.Section, error) {
	head, err := json.Marshal(countsJSON{c.Tokens})
	if err != nil {
		return sidecar.Section{}, fmt.Errorf("cache: store counts: %w", err)
	}
	var data []byte
	ffn := 0
	for _, l := range c.Neurons {
		ffn = len(l)
		for _, n := range l {
			data = binary.LittleEndian.AppendUint32(data, n)
		}
	}
	return sidecar.Section{JSON: head, Tensors: map[string]sidecar.Tensor{
		"counts": {DType: "U32", Shape: []int64{int64(len(c.Neurons)), int64(ffn)}, Data: data},
	}}, nil
}

// ReadCounts reads a section for a model of layers layers of ffn neurons.
func ReadCounts(s sidecar.Section, layers, ffn int) (*Counts, error) {
	var head countsJSON
	if err := json.Unmarshal(s.JSON, &head); err != nil {
		return nil, fmt.Errorf("cache: counts: %w", err)
	}
	if head.Tokens < 1 {
		return nil, fmt.Errorf("cache: counts: got %d tokens, want at least 1", head.Tokens)
	}
	t, ok := s.Tensors["counts"]
	if !ok || t.DType != "U32" || len(t.Shape) != 2 || t.Shape[0] != int64(layers) || t.Shape[1] != int64(ffn) || len(t.Data) != 4*layers*ffn {
		return nil, fmt.Errorf("cache: counts: tensor counts: got %s %v, want U32 [%d %d]; profile the model again", t.DType, t.Shape, layers, ffn)
	}
	c := NewCounts(layers, ffn)
	c.Tokens = head.Tokens
	for l, n := range c.Neurons {
		for i := range n {
			n[i] = binary.LittleEndian.Uint32(t.Data[4*(l*ffn+i):])
			if uint64(n[i]) > uint64(head.Tokens) {
				return nil, fmt.Errorf("cache: counts: neuron %d of layer %d: got %d of %d tokens, want at most all; profile the model again", i, l, n[i], head.Tokens)
			}
		}
	}
	return c, nil
}
