package engine_test

import (
	"context"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/engine"
	"github.com/sparseflow/sparseflow/models/tiny"
)

// BenchmarkDecodeTiny is the speed of decoding the embedded model, with all
// weights resident and at 58 % of them. The model fits in a processor's cache:
// this is the cost of the path, not of memory.
func BenchmarkDecodeTiny(b *testing.B) {
	path := packOf(b, tiny.Files, "tiny")
	for _, v := range []struct {
		name string
		s    config.OffloadStrategy
	}{
		{"dense/resident", strategy(config.Dense, 3)},
		{"gate/resident", strategy(config.Gate, 3)},
		{"predicted/resident", strategy(config.Predicted, 3)},
		{"dense/58%", strategy(config.Dense, 0.58)},
		{"predicted/58%", strategy(config.Predicted, 0.58)},
	} {
		b.Run(v.name, func(b *testing.B) {
			e := open(b, path, engine.Options{Strategy: v.s})
			// The first request fills the cache.
			req := engine.Request{IDs: prompt(4096, 20), MaxTokens: 200, IgnoreEOS: true}
			tokens, seconds := 0, 0.0
			for i := 0; i < b.N+1; i++ {
				res, err := e.Run(context.Background(), req)
				if err != nil {
					b.Fatal(err)
				}
				if i > 0 {
					tokens += res.Stats.Tokens - 1
					seconds += res.Stats.Decode.Seconds()
				}
			}
			b.ReportMetric(float64(tokens)/seconds, "tok/s")
		})
	}
}
