package sparseflow_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/sparseflow/sparseflow"
)

// tempCache is a cache directory for one example. Programs leave it out:
// without WithCacheDir the user's own is used.
func tempCache() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "sparseflow")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

func Example() {
	dir, remove := tempCache()
	defer remove()
	ctx := context.Background()
	strategy := sparseflow.DefaultStrategy()
	strategy.Budget.Share = 0.58 // of the model's weights in fast memory
	eng, err := sparseflow.Open(ctx, "tiny", sparseflow.WithStrategy(strategy), sparseflow.WithCacheDir(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	res, err := eng.Generate(ctx, sparseflow.Request{Prompt: "Once upon a time", MaxTokens: 16})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Text)
	// Output: , and then, as I had been, I was not a man of the
}

// A model's own config.json, and what is to be done with it.
func ExampleFromTransformersConfig() {
	hf := []byte(`{"model_type": "opt", "vocab_size": 50272, "hidden_size": 4096, "ffn_dim": 16384,
		"num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048}`)
	c, err := sparseflow.FromTransformersConfig(hf, sparseflow.OffloadStrategy{
		GPUCacheRatio:  sparseflow.Ratio(0.3),
		UseLRUEviction: true,
		AsyncTransfer:  true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Profile.Layers, "layers,", c.Profile.Neurons(), "neurons, sparse:", c.Profile.Sparse())
	fmt.Println("slots for", *c.Strategy.GPUCacheRatio, "of them")
	// Output:
	// 32 layers, 524288 neurons, sparse: true
	// slots for 0.3 of them
}

// everyOther asks for every other neuron, whatever the input.
type everyOther struct{}

func (everyOther) Scores(layer, tokens int, x, scores []float32) error {
	for i := range scores {
		scores[i] = float32(i % 2) // above zero: expected active
	}
	return nil
}

// A researcher's own predictor. Nothing else changes.
func ExampleWithPredictor() {
	dir, remove := tempCache()
	defer remove()
	ctx := context.Background()
	eng, err := sparseflow.Open(ctx, "tiny", sparseflow.WithPredictor(everyOther{}, 1), sparseflow.WithCacheDir(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	res, err := eng.Generate(ctx, sparseflow.Request{Prompt: "Once upon a time", MaxTokens: 8})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.0f %% of the neurons computed\n", 100*res.Stats.ComputedShare())
	// Output: 50 % of the neurons computed
}

// fifo evicts the neuron that came first.
type fifo struct{ order []int }

func (f *fifo) Insert(slot, neuron int) { f.order = append(f.order, slot) }
func (f *fifo) Hit(slot int)            {}

func (f *fifo) Victim(evictable func(slot int) bool) int {
	for i, slot := range f.order {
		if evictable(slot) {
			f.order = append(f.order[:i], f.order[i+1:]...)
			return slot
		}
	}
	return -1
}

// A researcher's own eviction policy, judged by its hit rate.
func ExampleWithEvictionPolicy() {
	dir, remove := tempCache()
	defer remove()
	ctx := context.Background()
	strategy := sparseflow.DefaultStrategy()
	strategy.Budget.Share = 0.7
	eng, err := sparseflow.Open(ctx, "tiny",
		sparseflow.WithStrategy(strategy),
		sparseflow.WithEvictionPolicy(func(layer, slots int) sparseflow.EvictionPolicy { return &fifo{} }),
		sparseflow.WithCacheDir(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	res, err := eng.Generate(ctx, sparseflow.Request{Prompt: "Once upon a time", MaxTokens: 64})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("some hits:", res.Stats.HitRate() > 0.2, "some misses:", res.Stats.HitRate() < 1)
	// Output: some hits: true some misses: true
}

// A config made for another model is refused before anything is loaded.
func ExampleWithConfig() {
	c, err := sparseflow.FromTransformersConfig([]byte(`{"model_type": "opt", "vocab_size": 512, "hidden_size": 64,
		"ffn_dim": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}`),
		sparseflow.DefaultStrategy())
	if err != nil {
		log.Fatal(err)
	}
	_, err = sparseflow.Open(context.Background(), "tiny", sparseflow.WithConfig(c))
	fmt.Println(err != nil)
	// Output: true
}
