package profile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/sparseflow/sparseflow/internal/sidecar"
)

// SectionName is the section of a sidecar that counts are stored in: the JSON
// {"tokens": N}, and the tensor "counts", U32 [layers, ffn].
const SectionName = "profile"

// Section is the counts as a section of a sidecar.
func (c Counts) Section() (sidecar.Section, error) {
	head, err := json.Marshal(struct {
		Tokens int `json:"tokens"`
	}{c.Tokens})
	if err != nil {
		return sidecar.Section{}, fmt.Errorf("profile: store: %w", err)
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
