package calibrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/device"
)

// inputs is what every layer's MLP got for a text, in a file without a name:
// as floats on the heap they would soon be larger than the model's share of
// memory, and the fit wants one layer at a time. It is gone when the process
// is, however that ends.
type inputs struct {
	f       *os.File
	d, most int   // most: tokens of a layer
	n       []int // [layers] tokens so far
	err     error // the first
}

// inputBytes is the size of the inputs of tokens tokens.
func inputBytes(layers, d, tokens int) int64 { return 4 * int64(layers) * int64(d) * int64(tokens) }

// newInputs makes room for tokens tokens in a file of dir.
func newInputs(dir string, layers, d, tokens int) (*inputs, error) {
	if err := convert.RoomFor(dir, inputBytes(layers, d, tokens)); err != nil {
		return nil, fmt.Errorf("calibrate: keep inputs in %w; write the sidecar elsewhere (-o)", err)
	}
	f, err := os.CreateTemp(dir, ".sparseflow-inputs-*")
	if err != nil {
		return nil, fmt.Errorf("calibrate: keep inputs: %w", err)
	}
	_ = os.Remove(f.Name()) // where an open file has to keep its name, close removes it
	return &inputs{f: f, d: d, most: tokens, n: make([]int, layers)}, nil
}

// add appends a layer's inputs x [tokens, d]; the text's first tokens are
// kept. An error is told by layer.
func (in *inputs) add(layer int, x device.Act) {
	for t := range x.Rows {
		if in.err != nil || in.n[layer] == in.most {
			return
		}
		at := (int64(layer)*int64(in.most) + int64(in.n[layer])) * int64(in.d) * 4
		_, in.err = in.f.WriteAt(bytesOf(x.Row(t)), at)
		in.n[layer]++
	}
}

// layer is a layer's inputs [tokens, d].
func (in *inputs) layer(l int) (x device.Act, err error) {
	if in.err != nil {
		return x, fmt.Errorf("calibrate: keep inputs: %w", in.err)
	}
	x = device.NewAct(in.n[l], in.d)
	if _, err := in.f.ReadAt(bytesOf(x.Data), int64(l)*int64(in.most)*int64(in.d)*4); err != nil {
		return x, fmt.Errorf("calibrate: read inputs: %w", err)
	}
	return x, nil
}

func (in *inputs) close() error {
	err := in.f.Close()
	if e := os.Remove(in.f.Name()); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// bytesOf views floats as the bytes that they are here: nobody else reads the
// file.
func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
