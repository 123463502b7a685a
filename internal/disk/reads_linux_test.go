package disk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// batch is the owner of requests that are waited for together.
type batch struct {
	left int
	err  error
}

func (b *batch) Ended(n int, err error) {
	b.left--
	if err != nil {
		b.err = err
	}
}

// BenchmarkReads makes random reads, 64 at a time, as a layer's plan does, and
// tells their cost to the processor: in one buffer each, and in two.
func BenchmarkReads(b *testing.B) {
	path := filepath.Join(b.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 256<<20), 0o666); err != nil {
		b.Fatal(err)
	}
	unix.Sync()
	const depth, most = 64, 16 << 10
	mem := newMemory(b, memory.BufferBytes(depth*most)).Buffer(depth * most)
	for _, kind := range []string{"ring", "pool"} {
		for _, n := range []int{1536, most} {
			for _, cuts := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%d/%d", kind, n, cuts), func(b *testing.B) {
					d, ok := openDirect([]pack.File{{Path: path, Bytes: 256 << 20}}, 512)
					if !ok {
						b.Skip("the file system has no direct reads")
					}
					var f AsyncFile
					if kind == "pool" {
						p := newReadPool(d, 8)
						defer p.stop()
						f = p
					} else if f, ok = withRing(d).(AsyncFile); !ok {
						b.Skip("the kernel has no io_uring")
					}
					defer f.Close()
					rng := rand.New(rand.NewPCG(1, 2))
					rs := make([]*Request, depth)
					var o batch
					for i := range rs {
						p := mem[i*most:][:n]
						rs[i] = &Request{Owner: &o, Bufs: [][]byte{p}}
						if cuts == 2 {
							rs[i].Bufs = [][]byte{p[:512], p[512:]}
						}
					}
					begin := processorTime()
					for b.Loop() {
						for _, r := range rs {
							r.Off = rng.Int64N(256<<20/512-most/512) * 512
						}
						o.left = depth
						for f.Submit(rs); o.left > 0; {
							f.Poll(true)
						}
					}
					if o.err != nil {
						b.Fatal(o.err)
					}
					reads := float64(b.N * depth)
					b.ReportMetric((processorTime()-begin)*1e6/reads, "cpu-us/read")
					b.ReportMetric(reads/b.Elapsed().Seconds(), "reads/s")
				})
			}
		}
	}
}

// processorTime is what this process has used, in seconds.
func processorTime() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
