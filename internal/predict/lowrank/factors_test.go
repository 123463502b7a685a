package lowrank

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sparseflow/sparseflow/internal/tensor"
	"pgregory.net/rapid"
)

func someFactors(d, ffn, rank int) Factors {
	r := rand.New(rand.NewPCG(1, 1))
	f := Factors{D: d, FFN: ffn, Rank: rank, A: normal(r, rank*d), B: normal(r, ffn*rank), Bias: normal(r, ffn)}
	f.round()
	return f
}

func finder(tensors []Tensor) func(string) (Tensor, bool) {
	return func(name string) (Tensor, bool) {
		i := slices.IndexFunc(tensors, func(t Tensor) bool { return t.Name == name })
		if i < 0 {
			return Tensor{}, false
		}
		return tensors[i], true
	}
}

// Rounded factors come back as they were, under these names and types, which
// stored predictors depend on.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		d, ffn, rank int
		a, b         tensor.DType
	}{
		{5, 7, 3, tensor.F16, tensor.F16},
		{64, 7, 3, tensor.Q8_0, tensor.F16},
		{64, 96, 32, tensor.Q8_0, tensor.Q8_0},
	} {
		f := someFactors(c.d, c.ffn, c.rank)
		d, ffn, rank := int64(c.d), int64(c.ffn), int64(c.rank)
		tensors, err := f.Encode("layers.2.predictor.")
		if err != nil {
			t.Fatal(err)
		}
		var bytes int64
		for i, want := range []Tensor{
			{Name: "layers.2.predictor.a", DType: c.a, Shape: []int64{rank, d}},
			{Name: "layers.2.predictor.b", DType: c.b, Shape: []int64{ffn, rank}},
			{Name: "layers.2.predictor.bias", DType: tensor.F32, Shape: []int64{ffn}},
		} {
			got := tensors[i]
			bytes += int64(len(got.Data))
			got.Data = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		if bytes != f.Bytes() {
			t.Errorf("got %d bytes, want %d", bytes, f.Bytes())
		}
		back, err := Decode("layers.2.predictor.", c.d, c.ffn, finder(tensors))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, back); diff != "" {
			t.Error(diff)
		}
		section, err := NewSection("", map[int]Factors{1: f})
		if err != nil {
			t.Fatal(err)
		}
		_, read, err := ReadSection(section, 2, c.d, c.ffn)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[int]Factors{1: f}, read); diff != "" {
			t.Error(diff)
		}
		layers, err := ReadLayers(section, 2, c.d, c.ffn)
		if err != nil {
			t.Fatal(err)
		}
		want, err := f.Layer()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Layer{{}, want}, layers); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for want, change := range map[string]func(f *Factors){
		"a element 4: got 70000, want at most 65504":  func(f *Factors) { f.A[4] = 70000 },
		"b element 1: got NaN":                        func(f *Factors) { f.B[1] = float32(math.NaN()) },
		"bias element 0: got -Inf":                    func(f *Factors) { f.Bias[0] = float32(math.Inf(-1)) },
		"got factors of 15, 21 and 6 elements":        func(f *Factors) { f.Bias = f.Bias[1:] },
		"got factors with d 5, ffn 7, rank 0, want a": func(f *Factors) { f.Rank = 0 },
	} {
		f := someFactors(5, 7, 3)
		change(&f)
		if _, err := f.Encode(""); err == nil || !strings.HasPrefix(err.Error(), "lowrank: encode: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for want, change := range map[string]func(ts []Tensor) []Tensor{
		"got no tensor b":                        func(ts []Tensor) []Tensor { return slices.Delete(ts, 1, 2) },
		"tensor a: got shape []":                 func(ts []Tensor) []Tensor { return ts[1:] },
		"tensor a: got shape [6 5]":              func(ts []Tensor) []Tensor { ts[0].Shape[0] = 6; return ts },
		"tensor a: got shape [0 5]":              func(ts []Tensor) []Tensor { ts[0].Shape[0] = 0; return ts },
		"tensor a: got F16 [3 4]":                func(ts []Tensor) []Tensor { ts[0].Shape[1] = 4; return ts },
		"tensor a: got F16 [2 5] of 30 bytes":    func(ts []Tensor) []Tensor { ts[0].Shape[0] = 2; return ts },
		"tensor b: got BF16 [7 3]":               func(ts []Tensor) []Tensor { ts[1].DType = tensor.BF16; return ts },
		"tensor bias: got F32 [7] of 27 bytes":   func(ts []Tensor) []Tensor { ts[2].Data = ts[2].Data[1:]; return ts },
		"tensor bias: got F32 [7 1]":             func(ts []Tensor) []Tensor { ts[2].Shape = []int64{7, 1}; return ts },
		"tensor b element 2: got NaN, want at m": func(ts []Tensor) []Tensor { ts[1].Data[4], ts[1].Data[5] = 1, 0x7e; return ts },
	} {
		ts, err := someFactors(5, 7, 3).Encode("")
		if err != nil {
			t.Fatal(err)
		}
		ts = change(ts)
		_, err = Decode("", 5, 7, finder(ts))
		_, layerErr := readLayer("", 5, 7, finder(ts))
		for _, err := range []error{err, layerErr} {
			if err == nil || !strings.HasPrefix(err.Error(), "lowrank: decode: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want one with %q", err, want)
			}
		}
	}
	if _, err := Decode("", 0, 7, finder(nil)); err == nil {
		t.Error("d 0: got no error")
	}
}

// The scale of a block of 8 bits is a float16, its values reach 127 times as far;
// the code -128, which Encode does not write, a little farther.
func TestLargestOfBlocks(t *testing.T) {
	f := someFactors(32, 40, 32)
	f.A[5] = -65504 * 127
	ts, err := f.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode("", 32, 40, finder(ts)); err != nil {
		t.Error(err)
	}
	ts[0].Data[2+5] = 0x80
	if _, err := Decode("", 32, 40, finder(ts)); err == nil || !strings.Contains(err.Error(), "tensor a element 5") {
		t.Errorf("got error %v, want one that names element 5", err)
	}
	f.A[5] *= 1.001
	if _, err := f.Encode(""); err == nil {
		t.Error("encode: got no error for a value beyond every scale")
	}
}

// A check refuses what decoding refuses, in the same words: whatever a block's
// scale and codes.
func TestCheck(t *testing.T) {
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		const rows, cols = 3, 2 * tensor.QuantBlock
		q := newTensor("a", tensor.Q8_0, rows, cols)
		size := int(tensor.Q8_0.RowBytes(tensor.QuantBlock))
		for at := 0; at < len(q.Data); at += size {
			scale := rapid.OneOf(rapid.Uint16Range(0, 0x7000), rapid.Uint16Range(0x7bec, 0x7bf2), rapid.Uint16Range(0x7bff, 0x7c01)).Draw(t, "scale")
			binary.LittleEndian.PutUint16(q.Data[at:], scale|rapid.Uint16().Draw(t, "sign")&0x8000)
			q.Data[at+2+rapid.IntRange(0, tensor.QuantBlock-1).Draw(t, "at")] = byte(rapid.Int8().Draw(t, "code"))
		}
		got, want := q.check(cols), q.decode(0, make([]float32, rows*cols))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("check: got %v, want decode's %v", got, want)
		}
		if want != nil {
			refused++
		}
	})
	if refused == 0 {
		t.Error("no tensor was refused, want some")
	}
}

// Whatever the tensors, factors that decode fit their layer and, in float16,
// encode again to the same bytes. (Blocks have more than one writing.)
func FuzzDecode(f *testing.F) {
	for _, c := range []Factors{someFactors(5, 7, 3), someFactors(32, 40, 32)} {
		ts, err := c.Encode("")
		if err != nil {
			f.Fatal(err)
		}
		d, ffn, rank := int64(c.D), int64(c.FFN), int64(c.Rank)
		f.Add(c.D, c.FFN, rank, d, ffn, rank, ffn, ts[0].Data, ts[1].Data, ts[2].Data)
		f.Add(c.D, c.FFN, int64(1<<40), d, ffn, rank, ffn, ts[0].Data, ts[1].Data, ts[2].Data)
	}
	f.Add(1, 1, int64(1), int64(1), int64(1), int64(1), int64(1), []byte{0, 0}, []byte{0, 0x3c}, []byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, d, ffn int, rank, aCols, bRows, bCols, n int64, a, b, bias []byte) {
		d, ffn = d%1000, ffn%1000
		tensors := []Tensor{
			{nameA, elem(int(aCols)), []int64{rank, aCols}, a},
			{nameB, elem(int(bCols)), []int64{bRows, bCols}, b},
			{nameBias, tensor.F32, []int64{n}, bias},
		}
		got, err := Decode("", d, ffn, finder(tensors))
		if err != nil {
			return
		}
		back, err := got.Encode("")
		if err != nil {
			t.Fatal(err)
		}
		for i := range back {
			if back[i].DType == tensor.Q8_0 && len(back[i].Data) == len(tensors[i].Data) {
				back[i].Data = tensors[i].Data
			}
		}
		if diff := cmp.Diff(tensors, back); diff != "" {
			t.Error(diff)
		}
	})
}
