package disk

// DiskSpeed is what a disk can do: a read of n bytes takes the longer of
// 1/IOPS and n/BytesPerSecond of its time.
type DiskSpeed struct {
	IOPS           float64 // reads per second
	BytesPerSecond float64
}

// AssumedDisk is the speed of a disk that nobody has measured: random reads of
// an NVMe disk as virtual machines have them.
func AssumedDisk() DiskSpeed { return DiskSpeed{IOPS: 57e3, BytesPerSecond: 0.95e9} }

// readSeconds is the processor's time for a read of any size: system call,
// interrupt and bookkeeping.
const readSeconds = 4e-6

// Seconds is what a read of n bytes takes of the disk's time.
func (d DiskSpeed) Seconds(n int64) float64 {
	return max(1/d.IOPS, float64(n)/d.BytesPerSecond)
}

// Joins reports whether one read of a and b bytes and the gap between them is
// cheaper than two reads.
func (d DiskSpeed) Joins(a, gap, b int64) bool {
	return d.Seconds(a+gap+b) < d.Seconds(a)+d.Seconds(b)+readSeconds
}

// QueueBytes is what reads under way take, on both sides of the kernel's
// border: queues, and the Reads that are kept for the next ones.
const QueueBytes = 1 << 20

// GapBytes is the memory for bytes that are read only because they lie
// between others, from a pack whose bundles are stride bytes apart.
func GapBytes(stride int64) int64 { return max(stride, 32<<10) }
