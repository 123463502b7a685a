package randopt

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/source"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// What is written can be read back: the profile as asked for, every tensor with
// the mean and deviation that make a tenth of the neurons fire.
func TestWrite(t *testing.T) {
	for _, shards := range []int{1, 3} {
		dir := filepath.Join(t.TempDir(), "model")
		want := Profile(300, 64, 2, 4, 256, 32)
		if err := Write(dir, Options{Profile: want, DType: tensor.F16, Seed: 1, Shards: shards}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.ProfileFromTransformers(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.EOS[0] != want.EOS[0] || got.HiddenSize != want.HiddenSize || got.FFN != want.FFN || !got.TiedHead || !got.PreNorm {
			t.Errorf("profile: got %+v, want %+v", got, want)
		}
		c, err := source.Open(os.DirFS(dir), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for name, stats := range map[string][2]float64{
			"model.decoder.layers.1.fc1.weight": {0, 0.125},
			"model.decoder.layers.1.fc1.bias":   {-1.2816, 0.02},
			"model.decoder.layers.0.fc2.weight": {0, 0.0625},
		} {
			x, ok := c.Tensor(name)
			if !ok {
				t.Fatalf("got no tensor %s among %v", name, c.Names())
			}
			mean, std := statistics(t, x)
			if math.Abs(mean-stats[0]) > 0.01 || math.Abs(std-stats[1]) > 0.01 {
				t.Errorf("%s: got mean %.3f, deviation %.3f, want %.3f, %.3f", name, mean, std, stats[0], stats[1])
			}
		}
	}
}

func statistics(t *testing.T, x *source.Tensor) (mean, std float64) {
	t.Helper()
	b := make([]byte, x.Bytes())
	if _, err := x.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(b)/2)
	tensor.Decode(v, b, tensor.F16)
	var sum, sq float64
	for _, e := range v {
		sum += float64(e)
		sq += float64(e) * float64(e)
	}
	n := float64(len(v))
	return sum / n, math.Sqrt(sq/n - sum*sum/n/n)
}
