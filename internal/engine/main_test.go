package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sparseflow/sparseflow/internal/convert"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// No engine leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if shared.dir != "" {
			os.RemoveAll(shared.dir)
		}
		os.Exit(status)
	}))
}

// shared is the embedded model's pack, made once for all tests that only read it.
var shared struct {
	once sync.Once
	dir  string
	err  error
}

func tinyPack(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "engine-test"); shared.err == nil {
			_, shared.err = convert.Convert(context.Background(), tiny.Files, "tiny", filepath.Join(shared.dir, "tiny.sflow"), convert.Options{})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return filepath.Join(shared.dir, "tiny.sflow")
}
