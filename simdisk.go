package sparseflow

import (
	"fmt"
	"time"

	"github.com/sparseflow/sparseflow/internal/disk"
)

// SimDisk is a simulated disk, for measuring what another machine's would give.
// It serves one read after the other, each in the time that its rates say, and
// the bytes are there a latency later.
type SimDisk struct {
	IOPS           float64       // reads per second
	BytesPerSecond float64       // of reads that are long enough
	Latency        time.Duration // from the end of a read to its bytes
}

// ParseSimDisk reads a simulated disk such as "57kiops,0.95GB/s,100us": reads
// per second, bytes per second (k, M and G are powers of 1000) and latency, in
// any order. Without a latency there is none.
func ParseSimDisk(s string) (SimDisk, error) {
	d, err := disk.ParseSim(s)
	return SimDisk(d), err
}

// String is d as ParseSimDisk reads it.
func (d SimDisk) String() string { return disk.SimSpec(d).String() }

// Speed is the disk's rates.
func (d SimDisk) Speed() DiskSpeed { return DiskSpeed{d.IOPS, d.BytesPerSecond} }

// DiskSpeed is what a disk can do: a read of n bytes takes the longer of
// 1/IOPS and n/BytesPerSecond of its time.
type DiskSpeed struct {
	IOPS           float64 // reads per second
	BytesPerSecond float64 // of reads that are long enough
}

// Seconds is what a read of n bytes takes of the disk's time.
func (d DiskSpeed) Seconds(n int64) float64 { return disk.DiskSpeed(d).Seconds(n) }

// Joins reports whether one read of a and b bytes and the gap between them is
// cheaper than two reads.
func (d DiskSpeed) Joins(a, gap, b int64) bool { return disk.DiskSpeed(d).Joins(a, gap, b) }

// WithSimDisk reads the model's neurons from a simulated disk. They come from
// the system's page cache, which is outside the budget.
func WithSimDisk(d SimDisk) Option {
	return func(o *options) {
		sim := disk.SimSpec(d)
		o.engine.OpenFile, o.engine.Disk = sim.Opener(), sim.Speed()
		o.notices = append(o.notices, fmt.Sprintf("the pack is read from a simulated disk of %v", d))
	}
}
