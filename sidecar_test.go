package sparseflow

import (
	"runtime"
	"testing"
	"time"

	"github.com/sparseflow/sparseflow/internal/hub"
)

// What a sidecar brings is on the heap, where the modes without predictors have
// no room for it: an engine in such a mode does not hold it. Predicted mode holds
// the codes of layers that have their own.
func TestSidecarIsLetGo(t *testing.T) {
	for mode, want := range map[Mode]bool{Dense: true, Gate: true, Predicted: false} {
		t.Run(string(mode), func(t *testing.T) {
			gone := make(chan bool)
			cache := t.TempDir()
			s := DefaultStrategy()
			s.Mode = mode
			eng, err := Open(t.Context(), "tiny", WithStrategy(s), WithCacheDir(cache), func(o *options) {
				src, err := hub.Find("tiny")
				if err != nil {
					t.Fatal(err)
				}
				p, err := openPack(t.Context(), src, *o)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				l, err := o.finder().Of(src, p)
				if err != nil {
					t.Fatal(err)
				}
				l.Use(&o.engine)
				runtime.AddCleanup(&l.Calibration.Layers[2].Codes.Rows[0], func(gone chan bool) { close(gone) }, gone)
			})
			if err != nil {
				t.Fatal(err)
			}
			defer eng.Close()
			for got, tries := false, 0; got != want; tries++ {
				if tries == 100 {
					t.Fatalf("got the sidecar collected: %v, want %v", got, want)
				}
				runtime.GC()
				select {
				case <-gone:
					got = true
				case <-time.After(10 * time.Millisecond):
				}
			}
			if !want {
				for range 3 {
					runtime.GC()
				}
				select {
				case <-gone:
					t.Error("got the sidecar collected, want it held by a predictor")
				case <-time.After(50 * time.Millisecond):
				}
			}
			runtime.KeepAlive(eng)
		})
	}
}
