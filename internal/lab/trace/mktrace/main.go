// Mktrace writes a synthetic trace: independent draws with the statistics that
// are published for OPT-6.7B.
//
//	go run ./internal/lab/trace/mktrace -steps 1000 -o opt-6.7b.trace
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sparseflow/sparseflow/internal/lab/trace"
)

func main() {
	steps := flag.Int("steps", 1000, "`number` of tokens")
	layers := flag.Int("layers", 0, "`number` of layers; 0: all of them")
	output := flag.String("o", "", "the `file` to write")
	flag.Parse()
	if err := write(*output, *steps, *layers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(path string, steps, layers int) error {
	if path == "" || steps < 1 || layers < 0 {
		return fmt.Errorf("mktrace: got -o %q, -steps %d and -layers %d, want a file, 1 or more and 0 or more", path, steps, layers)
	}
	m := trace.OPT67B(steps)
	if layers > 0 {
		m.Layers = layers
	}
	return m.Trace().Write(path)
}
