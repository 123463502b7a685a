package source

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// The cost of an opcode bounds what loading it allocates, garbage included, for
// every way to ask for much with little. Without that, maxPickleCost would
// bound nothing.
func TestPickleCost(t *testing.T) {
	ordered := pOrderedDict()
	cases := map[string]string{
		"marks":            strings.Repeat("(", 1e5),
		"tuples":           strings.Repeat("(t", 1e5),
		"small tuples":     "N" + strings.Repeat("\x85", 1e5),
		"empty tuples":     strings.Repeat(")", 1e5),
		"empty dicts":      strings.Repeat("}", 1e5),
		"empty lists":      strings.Repeat("]", 1e5),
		"ordered dicts":    strings.Repeat(ordered, 1e4),
		"integers":         strings.Repeat(pInt(1<<40), 1e5),
		"floats":           strings.Repeat("G12345678", 1e5),
		"strings":          strings.Repeat(pStr(strings.Repeat("x", 1000)), 1e4),
		"short strings":    strings.Repeat("\x8c\x01x", 1e5),
		"list items":       "]" + strings.Repeat("Na", 1e5),
		"many list items":  "](" + strings.Repeat("N", 1e5) + "e",
		"dict items":       "}" + strings.Repeat("NNs", 1e5),
		"many dict items":  "}(" + strings.Repeat("N", 1e5) + "u",
		"ordered items":    ordered + strings.Repeat(pInt(1<<40)+"Ns", 1e4),
		"distinct items":   ordered + "(" + strings.Repeat("]N", 1e5) + "u",
		"memo":             "N" + strings.Repeat("\x94", 1e5),
		"classes":          strings.Repeat(pClass("torch", "FloatStorage"), 1e4),
		"storages":         strings.Repeat(pStorage("FloatStorage", "0", 4), 1e4),
		"tensors":          strings.Repeat(pVector(4), 1e4),
		"wide tensors":     strings.Repeat(pTensor(pStorage("FloatStorage", "0", 4), 0, pInts(make([]int64, 64)...), pInts(make([]int64, 64)...)), 1e3),
		"one shape shared": pInts(make([]int64, 64)...) + "q\x00" + strings.Repeat(pTensor(pStorage("FloatStorage", "0", 4), 0, "h\x00", "h\x00"), 1e3),
		"frames":           strings.Repeat("\x95\x00\x00\x00\x00\x00\x00\x00\x00", 1e4),
		"a build":          ordered + "}(" + strings.Repeat(pStr("x")+"N", 1e5) + "ub",
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			program := []byte(pickled(body + "N"))
			cost, err := checkPickle(program)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = loadPickle(program)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), "want a dict") {
				t.Fatalf("got %v, want the program to run to its end", err)
			}
			used := int64(after.TotalAlloc - before.TotalAlloc)
			t.Logf("allocated %d bytes, estimated %d", used, cost)
			if used > cost+64<<10 {
				t.Errorf("allocated %d bytes, estimated %d", used, cost)
			}
		})
	}
}

// A real state dict is far below the bound: 30 000 tensors fit.
func TestPickleCostOfTensor(t *testing.T) {
	file, err := os.Open("testdata/pytorch-bin/pytorch_model.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	a, err := openArchive(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	program, err := a.pickle()
	if err != nil {
		t.Fatal(err)
	}
	cost, err := checkPickle(program)
	if err != nil {
		t.Fatal(err)
	}
	const tensors = 37
	t.Logf("%d bytes a tensor", cost/tensors)
	if most := int64(maxPickleCost / 30_000); cost/tensors > most {
		t.Errorf("got %d bytes a tensor, want at most %d", cost/tensors, most)
	}
}
