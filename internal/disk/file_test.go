package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"

	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
)

// Every way to read fills every buffer with the file's bytes, in any number of
// buffers, more than one system call takes included.
func TestFileReads(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		defer file.Close()
		want, err := os.ReadFile(f.Path())
		if err != nil {
			t.Fatal(err)
		}
		a := int(file.Align())
		units := min(len(want)/a, (1<<20)/a)
		mem := newMemory(t, memory.BufferBytes(1<<20)).Buffer(1 << 20)
		check := func(t rapid.TB, at int, lengths []int) {
			var bufs [][]byte
			total := 0
			for _, n := range lengths {
				bufs = append(bufs, mem[total:total+n*a])
				total += n * a
			}
			clear(mem[:total])
			sizes := len(bufs)
			n, err := file.ReadVec(bufs, int64(at*a))
			if err != nil || n != total {
				t.Fatalf("read %d buffers at %d: got %d bytes, %v, want %d", sizes, at*a, n, err, total)
			}
			if !bytes.Equal(mem[:total], want[at*a:][:total]) {
				t.Fatalf("read %v at %d: got other bytes than the file's", lengths, at*a)
			}
			if len(bufs) != sizes || total > 0 && len(bufs[0]) != lengths[0]*a {
				t.Fatal("the caller's buffers changed")
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			at := rapid.IntRange(0, units).Draw(t, "at")
			var lengths []int
			for left := units - at; left > 0 && len(lengths) < 5; {
				n := rapid.IntRange(0, min(left, 40)).Draw(t, "length")
				lengths = append(lengths, n)
				left -= n
			}
			check(t, at, lengths)
		})
		check(t, 1, slices.Repeat([]int{1}, min(1500, units-1)))
	})
}

// Reading past the end is an error, wherever it begins.
func TestFileEnd(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		defer file.Close()
		buf := newMemory(t, 4*memory.PageAlign).Buffer(2 * memory.PageAlign)
		for _, off := range []int64{f.Size() - memory.PageAlign, f.Size(), f.Size() + memory.PageAlign} {
			n, err := file.ReadVec([][]byte{buf[:memory.PageAlign], buf[memory.PageAlign:]}, off)
			want := max(0, f.Size()-off)
			if int64(n) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("read at %d of %d: got %d bytes, %v, want %d, %v", off, f.Size(), n, err, want, io.ErrUnexpectedEOF)
			}
		}
	})
}

// A file that is cut short while it is open gives an error that names it and
// the offset, at whatever byte it ends; what is left can still be read.
func TestFileTruncated(t *testing.T) {
	eachFile(t, func(t *testing.T, f *fixture, file File) {
		s := f.store(t, file)
		const neuron = 30
		off := f.BundleOffset(1, neuron)
		dst := [][]byte{f.slots(t, 1).Bundle(0)}
		for _, cut := range []int64{off + f.BundleStride() - 1, off + 100, off, off - memory.PageAlign + 7} {
			if err := os.Truncate(f.Path(), cut); err != nil {
				t.Fatal(err)
			}
			err := s.ReadBundles(1, neuron, dst)
			wantIn(t, err, "disk: ", f.Path(), "neuron", off)
			wantIn(t, s.CheckUnchanged(), f.Path(), "changed")
			if err := s.ReadBundles(0, 3, dst); err != nil || !bytes.Equal(dst[0], f.bundles[0][3]) {
				t.Errorf("cut at %d: a bundle before it: %v", cut, err)
			}
		}
	})
}

// fill goes on after short reads, and ends with the first error or where the
// file does.
func TestFill(t *testing.T) {
	broken := errors.New("broken")
	rapid.Check(t, func(t *rapid.T) {
		align := rapid.SampledFrom([]int{1, 4}).Draw(t, "align")
		file := make([]byte, rapid.IntRange(0, 100).Draw(t, "file"))
		for i := range file {
			file[i] = byte(i + 1)
		}
		off := rapid.IntRange(0, 25).Draw(t, "offset") * align
		var bufs [][]byte
		want := 0
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 6).Draw(t, "lengths") {
			bufs = append(bufs, make([]byte, n*align))
			want += n * align
		}
		failAt := rapid.IntRange(0, 60).Draw(t, "fail at") // bytes read
		got := 0
		read := func(bufs [][]byte, at int64) (int, error) {
			if int(at) != off+got || int(at)%align != 0 {
				t.Fatalf("read at %d, want %d, a multiple of %d", at, off+got, align)
			}
			if got >= failAt*align {
				return 0, broken
			}
			most := rapid.IntRange(1, 4).Draw(t, "short") * align
			n := 0
			for _, b := range bufs {
				c := copy(b[:min(len(b), most-n)], file[min(int(at)+n, len(file)):])
				n += c
				if n == most || c < len(b) {
					break
				}
			}
			got += n
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}
		n, err := fill(bufs, int64(off), int64(align), read)
		there := min(want, max(0, len(file)-off))
		if n != got || n > there {
			t.Fatalf("got %d bytes, want the %d read, at most %d", n, got, there)
		}
		switch {
		case n == want && err == nil:
		case n >= failAt*align && n < want && err == broken:
		case n == there && n < want && err == io.ErrUnexpectedEOF:
		default:
			t.Fatalf("got %d of %d bytes (%d in the file), %v", n, want, there, err)
		}
		if flat := slices.Concat(bufs...); !bytes.Equal(flat[:n], file[min(off, len(file)):][:n]) {
			t.Fatalf("got %v, want %v", flat[:n], file[off:][:n])
		}
	})
}

func TestOpenFile(t *testing.T) {
	for align, stride := range map[int64]int64{512: 1536, 1024: 2048, 4096: 4096} {
		f := makePack(t, align)
		if f.BundleStride() != stride {
			t.Fatalf("alignment %d: got bundles %d apart, want %d", align, f.BundleStride(), stride)
		}
		align = stride & -stride
		if got := bundleAlign(f.Pack); got != align {
			t.Errorf("alignment of bundles %d apart: got %d, want %d", f.BundleStride(), got, align)
		}
		for _, mode := range []config.IOMode{"", config.IODirect, config.IOMmap} {
			file, err := OpenFile(f.Pack, mode)
			if err != nil {
				t.Fatal(err)
			}
			if mode != config.IOMmap && file.Align() == 1 {
				t.Logf("DIRECT READS ARE NOT TESTED: %s is read through the page cache", f.Path())
			}
			s := f.store(t, file)
			dst := [][]byte{f.slots(t, 1).Bundle(0)}
			if err := s.ReadBundles(2, 39, dst); err != nil || !bytes.Equal(dst[0], f.bundles[2][39]) {
				t.Errorf("alignment %d, mode %q: got error %v or other bytes", align, mode, err)
			}
		}
		if err := os.Rename(f.Path(), f.Path()+".gone"); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []config.IOMode{config.IODirect, config.IOMmap} {
			_, err := OpenFile(f.Pack, mode)
			wantIn(t, err, "disk: open", f.Path())
		}
	}
}

func TestOpenMappedEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := openMapped([]pack.File{{Path: path}})
	wantIn(t, err, "disk: map", path)
}
