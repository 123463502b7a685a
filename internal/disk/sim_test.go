package disk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSim(t *testing.T) {
	for text, want := range map[string]SimSpec{
		"57kiops,0.95GB/s,100us":   {57e3, 0.95e9, 100 * time.Microsecond},
		"100us, 57KIOPS ,0.95gb/s": {57e3, 0.95e9, 100 * time.Microsecond},
		"200iops,80MB/s,8ms":       {200, 80e6, 8 * time.Millisecond},
		"1miops,1e9B/s":            {1e6, 1e9, 0},
		"57kiops,500kB/s,0s":       {57e3, 500e3, 0},
		"57.5kiops,0.95GB/s,1m":    {57500, 0.95e9, time.Minute},
	} {
		got, err := ParseSim(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, word := range map[string]string{
		"":                         "duration",
		"57kiops":                  "missing",
		"0.95GB/s":                 "missing",
		"57kiops,0.95GB/s,fast":    "fast",
		"57kiops,0.95GB/s,-1us":    "latency",
		"57kiops,0.95GB/s,2m":      "latency",
		"57kiops,0.95GB/s,1us,2us": "2us",
		"57kiops,58kiops,0.95GB/s": "58kiops",
		"57kiops,0.95GB/s,1GB/s":   "1GB/s",
		"iops,0.95GB/s":            "number",
		"kiops,0.95GB/s":           "number",
		"0iops,0.95GB/s":           "per second",
		"-1iops,0.95GB/s":          "per second",
		"naniops,0.95GB/s":         "per second",
		"infiops,0.95GB/s":         "per second",
		"57kiops,1e300GB/s":        "per second",
	} {
		_, err := ParseSim(text)
		wantIn(t, err, "disk: simulated disk", word)
	}
}

// What String prints is what ParseSim reads.
func FuzzParseSim(f *testing.F) {
	f.Add("57kiops,0.95GB/s,100us")
	f.Add("200iops,80MB/s")
	f.Add(",,")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSim(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "disk: simulated disk: got ") {
				t.Errorf("%q: got error %v", text, err)
			}
			return
		}
		again, err := ParseSim(s.String())
		if err != nil || again.IOPS != s.IOPS || again.Latency != s.Latency || !near(again.BytesPerSecond, s.BytesPerSecond, 1e-12) {
			t.Errorf("%q: got %+v, and by way of %q %+v, %v", text, s, s.String(), again, err)
		}
	})
}

func near(a, b, share float64) bool { return a >= b*(1-share) && a <= b*(1+share) }

// No read ends before the simulated disk would have brought it, nor much
// later: one by one after a latency each, together as fast as its queue.
func TestSimTime(t *testing.T) {
	f := makePack(t, 0)
	for _, c := range []struct {
		spec   SimSpec
		reads  int
		span   int // bundles of a read
		alone  time.Duration
		queued time.Duration
	}{
		// By reads per second, by bytes per second, by latency.
		{SimSpec{2000, 1e12, 0}, 20, 1, 500 * time.Microsecond, 10 * time.Millisecond},
		{SimSpec{1e9, 1536e3, 0}, 20, 2, 2 * time.Millisecond, 40 * time.Millisecond},
		{SimSpec{1e6, 1e12, 3 * time.Millisecond}, 20, 1, 3 * time.Millisecond, 3 * time.Millisecond},
	} {
		file, err := OpenSim(f.Pack, c.spec)
		if err != nil {
			t.Fatal(err)
		}
		a := NewAsyncWeightTransfer(f.store(t, file), 1)
		s := f.slots(t, c.reads*c.span)
		rng := rand.New(rand.NewPCG(1, 1))
		start := func(i int) *Read {
			slots := make([]int32, c.span)
			for k := range slots {
				slots[k] = int32(i*c.span + k)
			}
			return a.StartBundles(rng.IntN(3), rng.IntN(38), slots, s, nil)
		}
		const slack = 2 * time.Millisecond
		mostAlone, mostQueued := c.alone+slack, c.queued+c.queued/10+slack
		// The quickest of some: another process may have taken the processor.
		alone, queued := time.Hour, time.Hour
		for try := 0; try < 50 && (try < 5 || alone > mostAlone || queued > mostQueued); try++ {
			begin := time.Now()
			if err := start(0).Wait(); err != nil {
				t.Fatal(err)
			}
			alone = min(alone, time.Since(begin))
			begin = time.Now()
			var reads []*Read
			for i := range c.reads {
				reads = append(reads, start(i))
			}
			for _, r := range reads {
				if err := r.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			queued = min(queued, time.Since(begin))
		}
		if alone < c.alone || alone > mostAlone {
			t.Errorf("%v: one read: got %v, want %v", c.spec, alone, c.alone)
		}
		if queued < c.queued || queued > mostQueued {
			t.Errorf("%v: %d reads: got %v, want %v", c.spec, c.reads, queued, c.queued)
		}
		// A read that nobody waits for is there in its time, and not before.
		begin := time.Now()
		for r := start(0); !r.Done(); {
		}
		if took := time.Since(begin); took < c.alone {
			t.Errorf("%v: done after %v, want %v", c.spec, took, c.alone)
		}
		a.Close()
	}
}

// What is not bundles takes its time too.
func TestSimResident(t *testing.T) {
	f := makePack(t, 0)
	file, err := OpenSim(f.Pack, SimSpec{1e6, 1e9, 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s := f.store(t, file)
	begin := time.Now()
	x := f.matrices()[0]
	got, err := s.ReadRow(x, 1, f.buffer(t))
	if err != nil || string(got) != string(f.tensors[x.Name][x.RowBytes:2*x.RowBytes]) {
		t.Errorf("got %v or other bytes", err)
	}
	if took := time.Since(begin); took < 5*time.Millisecond {
		t.Errorf("got a row after %v, want 5 ms", took)
	}
}

// Two reads are joined where one takes less of the disk's and the processor's
// time.
func TestJoins(t *testing.T) {
	d := DiskSpeed{IOPS: 50e3, BytesPerSecond: 1e9} // a read of 20 kB costs no more than one of none
	for _, c := range []struct {
		a, gap, b int64
		want      bool
	}{
		{1000, 0, 1000, true},
		{1000, 20000, 1000, true},
		{1000, 40000, 1000, true}, // 42 us against 40 and the processor's
		{1000, 43000, 1000, false},
		{20000, 0, 20000, true},
		{20000, 20000, 20000, false},
		{1 << 20, 0, 1000, true},
		{1 << 20, 22000, 1000, true},
		{1 << 20, 24000, 1000, false},
	} {
		if got := d.Joins(c.a, c.gap, c.b); got != c.want {
			t.Errorf("%d, %d between, %d: got joined %v, want %v", c.a, c.gap, c.b, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1<<24)
		a, gap, b := n.Draw(t, "a"), n.Draw(t, "gap"), n.Draw(t, "b")
		if d.Joins(a, gap, b) && !d.Joins(a, gap/2, b) {
			t.Fatal("a smaller gap is not joined")
		}
		if !d.Joins(a, 0, b) {
			t.Fatal("neighbours are not joined")
		}
	})
}

// Opening a simulated disk has the file in the page cache, whether it was there or
// not.
func TestSimCached(t *testing.T) {
	f := makePack(t, 0)
	raw, err := os.Open(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	n, err := io.Copy(io.Discard, raw) // what was never written is not there yet
	if err != nil || n != f.Size() {
		t.Fatalf("read %d bytes, %v, want %d", n, err, f.Size())
	}
	known := inPageCache(raw, 0, n)
	if runtime.GOOS == "linux" && !known {
		t.Log("PAGE CACHE IS NOT TESTED: the kernel is before 6.5, or short of memory")
	}
	for _, drop := range []bool{false, true} {
		if drop {
			if err := raw.Sync(); err != nil { // what is dirty stays
				t.Fatal(err)
			}
			dropCache(raw, n/2, n/4)
			dropCache(raw, 0, n/8) // of the matrices
			if known && inPageCache(raw, 0, n) {
				t.Log("READING IS NOT TESTED: the file system keeps what it is told to drop")
			}
		}
		file, err := OpenSim(f.Pack, SimSpec{IOPS: 1e6, BytesPerSecond: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		if known && !inPageCache(raw, 0, n) {
			t.Errorf("dropped %v: got a file that is not all in the page cache", drop)
		}
		s := f.store(t, file)
		dst := [][]byte{f.slots(t, 1).Bundle(0)}
		if err := s.ReadBundles(2, 39, dst); err != nil || !bytes.Equal(dst[0], f.bundles[2][39]) {
			t.Errorf("got %v or other bytes", err)
		}
	}
}
