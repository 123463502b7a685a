package calibrate_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/calibrate"
	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/models/tiny"
)

func TestRefusesBitsAndRank(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tiny.sflow")
	if _, err := convert.Convert(context.Background(), tiny.Files, "tiny", path, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for want, set := range map[string]func(*calibrate.Options){
		"bits: got 2":  func(o *calibrate.Options) { o.Bits = 2 },
		"bits: got 5":  func(o *calibrate.Options) { o.Bits = 5 },
		"bits: got -1": func(o *calibrate.Options) { o.Bits = -1 },
		"rank: got 48": func(o *calibrate.Options) { o.Rank = 48 },
		"rank: got 8":  func(o *calibrate.Options) { o.Rank = 8 },
	} {
		o := optionsOf(t, path)
		o.IDs = make([]int32, 2000)
		set(&o)
		if err := calibrate.Check(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
