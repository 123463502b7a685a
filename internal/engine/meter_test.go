package engine

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/device"
	"github.com/sparseflow/sparseflow/internal/device/cpu"
	"github.com/sparseflow/sparseflow/internal/kernel"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Experts that are computed are read once, whatever their tokens, and others not.
func TestMeterExperts(t *testing.T) {
	const d, width, tokens = 8, 4, 3
	parts := [3]device.ExpertPart{{DType: tensor.F32, Rows: width, Cols: d}, {DType: tensor.F32, Rows: width, Cols: d}, {DType: tensor.F32, Rows: d, Cols: width}}
	w := device.ExpertWork{IDs: []int32{1, 4, 6}, Parts: parts, Tokens: []int32{0, 1, 2, 1}, First: []int32{0, 3, 3, 4}, Act: config.SiLU}
	for range w.IDs {
		var data [3][]byte
		for i, p := range parts {
			data[i] = make([]byte, int64(p.Rows)*p.DType.RowBytes(p.Cols))
		}
		w.Data = append(w.Data, data)
	}
	var rows int64
	m := meter{Backend: cpu.New(kernel.Best(), 1), reads: func(r Read) { rows += r.Bytes() }}
	defer m.Close()
	m.Experts(device.NewAct(w.Pairs(), d), device.NewAct(tokens, d), &w, []int32{0, 1})
	if want := int64(3 * width * d * 4); m.bytes != want || rows != want {
		t.Errorf("got %d and %d bytes, want %d, one expert's", m.bytes, rows, want)
	}
	m.Experts(device.NewAct(w.Pairs(), d), device.NewAct(tokens, d), &w, []int32{2})
	if want := int64(2 * 3 * width * d * 4); m.bytes != want || rows != want {
		t.Errorf("got %d and %d bytes, want %d, two experts'", m.bytes, rows, want)
	}
}
