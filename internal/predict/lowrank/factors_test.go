package lowrank

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/sidecar"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func someFactors(d, ffn, rank int) Factors {
	r := rand.New(rand.NewPCG(1, 1))
	return Factors{D: d, FFN: ffn, Rank: rank, A: normal(r, rank*d), B: normal(r, ffn*rank), Bias: normal(r, ffn)}
}

func mustLayer(t testing.TB, f Factors) Layer {
	t.Helper()
	l, err := f.Layer()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustSection(t testing.TB, layers ...Layer) sidecar.Section {
	t.Helper()
	s, err := NewSection(layers)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decoded is the elements of a stored matrix.
func decoded(m device.Mat) []float32 {
	v := make([]float32, m.Rows*m.Cols)
	tensor.Decode(v, m.Data, m.DType)
	return v
}

// Stored factors are near the given ones, have the size that was foretold, and
// come back from a section as they were, under these names and types, which
// sidecars depend on.
func TestSection(t *testing.T) {
	for _, c := range []struct {
		d, ffn, rank int
		a, b         sidecar.Tensor
	}{
		{5, 7, 3, sidecar.Tensor{DType: "F16", Shape: []int64{3, 5}}, sidecar.Tensor{DType: "F16", Shape: []int64{7, 3}}},
		{64, 7, 3, sidecar.Tensor{DType: "U8", Shape: []int64{3, 68}}, sidecar.Tensor{DType: "F16", Shape: []int64{7, 3}}},
		{64, 96, 32, sidecar.Tensor{DType: "U8", Shape: []int64{32, 68}}, sidecar.Tensor{DType: "U8", Shape: []int64{96, 34}}},
	} {
		f := someFactors(c.d, c.ffn, c.rank)
		l := mustLayer(t, f)
		if got, want := l.Bytes(), FactorBytes(c.d, c.ffn, c.rank); got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
		for i, v := range append(decoded(l.A), decoded(l.B)...) {
			if want := append(f.A, f.B...)[i]; math.Abs(float64(v-want)) > 0.02 {
				t.Errorf("element %d: got %v stored, want about %v", i, v, want)
			}
		}
		s := mustSection(t, Layer{}, l)
		c.a.Data, c.b.Data = l.A.Data, l.B.Data
		want := map[string]sidecar.Tensor{"1.a": c.a, "1.b": c.b, "1.bias": s.Tensors["1.bias"]}
		if diff := cmp.Diff(want, s.Tensors); diff != "" {
			t.Error(diff)
		}
		back, err := ReadSection(s, 2, c.d, c.ffn)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Layer{{}, l}, back); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLayerRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for want, change := range map[string]func(f *Factors){
		"tensor a: got an infinity or NaN at byte 8": func(f *Factors) { f.A[4] = 70000 }, // of float16
		"tensor b: element 1: got NaN":               func(f *Factors) { f.B[1] = nan },
		"tensor bias: element 0: got -Inf":           func(f *Factors) { f.Bias[0] = float32(math.Inf(-1)) },
		"got factors of 15, 21 and 6 elements":       func(f *Factors) { f.Bias = f.Bias[1:] },
		"got factors of 0, 0 and 7 elements":         func(f *Factors) { f.Rank, f.A, f.B = 0, nil, nil },
	} {
		f := someFactors(5, 7, 3)
		change(&f)
		if _, err := f.Layer(); err == nil || !strings.HasPrefix(err.Error(), "lowrank: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
	// In blocks of 8 bits the scale is a float16, and values reach 127 times as far.
	f := someFactors(32, 40, 32)
	f.A[5] = -65504 * 127
	if _, err := f.Layer(); err != nil {
		t.Error(err)
	}
	f.A[5] *= 1.001
	if _, err := f.Layer(); err == nil {
		t.Error("got no error for a value beyond every scale")
	}
}

func TestReadSectionRefuses(t *testing.T) {
	edit := func(name string, change func(*sidecar.Tensor)) func(*sidecar.Section) {
		return func(s *sidecar.Section) {
			t := s.Tensors[name]
			change(&t)
			s.Tensors[name] = t
		}
	}
	for want, change := range map[string]func(*sidecar.Section){
		"tensor 1.b: got  [] of 0 bytes":         func(s *sidecar.Section) { delete(s.Tensors, "1.b") },
		"got rank 6 of layer 1":                  func(s *sidecar.Section) { s.JSON = []byte(`{"ranks":{"1":6}}`) },
		"got rank 0 of layer 1":                  func(s *sidecar.Section) { s.JSON = []byte(`{"ranks":{"1":0}}`) },
		"got rank 3 of layer 2":                  func(s *sidecar.Section) { s.JSON = []byte(`{"ranks":{"2":3}}`) },
		"got rank 3 of layer -1":                 func(s *sidecar.Section) { s.JSON = []byte(`{"ranks":{"-1":3}}`) },
		"read section: ":                         func(s *sidecar.Section) { s.JSON = []byte(`{`) },
		"tensor 1.a: got F16 [3 4]":              edit("1.a", func(t *sidecar.Tensor) { t.Shape = []int64{3, 4} }),
		"tensor 1.b: got BF16 [7 3]":             edit("1.b", func(t *sidecar.Tensor) { t.DType = "BF16" }),
		"tensor 1.bias: got F32 [7] of 27 bytes": edit("1.bias", func(t *sidecar.Tensor) { t.Data = t.Data[1:] }),
		"tensor 1.bias: got F32 [7 1]":           edit("1.bias", func(t *sidecar.Tensor) { t.Shape = []int64{7, 1} }),
		"tensor 1.bias: element 2: got +Inf":     edit("1.bias", func(t *sidecar.Tensor) { binary.LittleEndian.PutUint32(t.Data[8:], 0x7f800000) }),
		"tensor 1.b: got an infinity or NaN at":  edit("1.b", func(t *sidecar.Tensor) { t.Data[4], t.Data[5] = 1, 0x7e }),
	} {
		s := mustSection(t, Layer{}, mustLayer(t, someFactors(5, 7, 3)))
		change(&s)
		if _, err := ReadSection(s, 2, 5, 7); err == nil || !strings.HasPrefix(err.Error(), "lowrank: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

// Stored values are refused where decoding finds one that is not finite, and
// nowhere else, whatever the bytes.
func TestCheckStored(t *testing.T) {
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		m := device.Mat{DType: rapid.SampledFrom([]tensor.DType{tensor.Q8_0, tensor.F16}).Draw(t, "type"), Rows: 3, Cols: 2 * tensor.QuantBlock}
		m.Data = make([]byte, m.DType.RowBytes(m.Rows*m.Cols))
		step := 2
		if m.DType == tensor.Q8_0 {
			step = int(tensor.Q8_0.RowBytes(tensor.QuantBlock))
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(m.Data)/step-1).Draw(t, "at") * step
			scale := rapid.OneOf(rapid.Uint16Range(0, 0x7bff), rapid.Uint16Range(0x7bfe, 0x7c02)).Draw(t, "scale")
			binary.LittleEndian.PutUint16(m.Data[at:], scale|rapid.Uint16().Draw(t, "sign")&0x8000)
			for k := 2; k < step; k++ {
				m.Data[at+k] = rapid.Byte().Draw(t, "code") | 1
			}
		}
		err, want := checkStored("a", m), checkFloats("a", decoded(m))
		if (err == nil) != (want == nil) {
			t.Fatalf("got %v, want as of the decoded values: %v", err, want)
		}
		if want != nil {
			refused++
		}
	})
	if refused == 0 {
		t.Error("no matrix was refused, want some")
	}
}

// Whatever a section says, it is read or refused, and what is read is finite.
func FuzzReadSection(f *testing.F) {
	for _, c := range []Factors{someFactors(5, 7, 3), someFactors(32, 40, 32)} {
		s := mustSection(f, mustLayer(f, c))
		f.Add([]byte(s.JSON), c.D, c.FFN, s.Tensors["0.a"].DType, s.Tensors["0.a"].Shape[1], s.Tensors["0.a"].Data, s.Tensors["0.b"].Data)
	}
	f.Add([]byte(`{"ranks":{"0":1099511627776}}`), 5, 7, "F16", int64(5), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, json []byte, d, ffn int, dtype string, cols int64, a, b []byte) {
		d, ffn = 1+(d%1000+1000)%1000, 1+(ffn%1000+1000)%1000
		rows := int64(len(a)) / max(1, cols)
		s := sidecar.Section{JSON: json, Tensors: map[string]sidecar.Tensor{
			"0.a":    {DType: dtype, Shape: []int64{rows, cols}, Data: a},
			"0.b":    {DType: dtype, Shape: []int64{int64(ffn), int64(len(b) / ffn)}, Data: b},
			"0.bias": {DType: "F32", Shape: []int64{int64(ffn)}, Data: make([]byte, 4*ffn)},
		}}
		layers, err := ReadSection(s, 1, d, ffn)
		if err != nil || layers[0].Empty() {
			return
		}
		for _, m := range []device.Mat{layers[0].A, layers[0].B} {
			if err := checkFloats("decoded", decoded(m)); err != nil {
				t.Error(err)
			}
		}
	})
}
