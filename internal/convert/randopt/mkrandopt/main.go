// Command mkrandopt writes a random OPT checkpoint, for trying memory limits
// and speeds where no real weights are at hand. Its text means nothing.
//
//	go run ./internal/convert/randopt/mkrandopt -d 2048 -layers 8 -ffn 8192 DIR
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sparseflow/sparseflow/internal/convert/randopt"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

func main() {
	vocab := flag.Int("vocab", 4096, "tokens")
	d := flag.Int("d", 2048, "hidden size")
	layers := flag.Int("layers", 8, "layers")
	heads := flag.Int("heads", 32, "attention heads")
	ffn := flag.Int("ffn", 8192, "MLP neurons of a layer")
	positions := flag.Int("positions", 2048, "longest context")
	shards := flag.Int("shards", 1, "files")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "mkrandopt: want one argument, the directory to write")
		os.Exit(2)
	}
	err := randopt.Write(flag.Arg(0), randopt.Options{
		Profile: randopt.Profile(*vocab, *d, *layers, *heads, *ffn, *positions),
		DType:   tensor.F16,
		Seed:    *seed,
		Shards:  *shards,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
