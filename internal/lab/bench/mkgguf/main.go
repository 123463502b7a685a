// Command mkgguf writes a GGUF file of GPT-2's architecture with random
// weights, of any size: what llama.cpp can be timed on beside an OPT model of
// the same shape, which it does not run. Its text means nothing.
//
//	go run ./internal/lab/bench/mkgguf -d 768 -layers 12 -heads 12 -ffn 3072 -type f16 F.gguf
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

func main() {
	s := shape{vocab: 50272, context: 2048}
	flag.IntVar(&s.d, "d", 768, "hidden size, a multiple of 32")
	flag.IntVar(&s.layers, "layers", 12, "layers")
	flag.IntVar(&s.heads, "heads", 12, "attention heads")
	flag.IntVar(&s.ffn, "ffn", 3072, "MLP neurons of a layer, a multiple of 32")
	kind := flag.String("type", "f16", "type of the matrices: f16, q8_0 or q4_0")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "mkgguf: got no file, want one to write")
		os.Exit(2)
	}
	if err := run(s, *kind, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "mkgguf:", err)
		os.Exit(1)
	}
}

func run(s shape, kind, path string) error {
	d, err := tensor.ParseDType(kind)
	if err != nil || numbers(d) == numbers(tensor.F32) {
		return fmt.Errorf("-type: got %q, want f16, q8_0 or q4_0", kind)
	}
	if s.layers < 1 || s.heads < 1 || s.d < 32 || s.d%32 != 0 || s.d%s.heads != 0 || s.ffn < 32 || s.ffn%32 != 0 {
		return fmt.Errorf("sizes: got %+v, want -d and -ffn multiples of 32, and -heads a divisor of -d", s)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	g := &writer{to: w}
	g.file(s, d)
	return errors.Join(g.err, w.Flush(), f.Close())
}
