package profile

import (
	"bytes"
	"testing"
)

func TestSection(t *testing.T) {
	s, err := Counts{Tokens: 300, Neurons: [][]uint32{{1, 2, 258}, {4, 5, 6}}}.Section()
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0}
	c := s.Tensors["counts"]
	if string(s.JSON) != `{"tokens":300}` || c.DType != "U32" || len(c.Shape) != 2 || c.Shape[0] != 2 || c.Shape[1] != 3 || !bytes.Equal(c.Data, want) {
		t.Errorf("got %s, %+v, want 300 tokens and U32 [2, 3] % x", s.JSON, c, want)
	}
}
