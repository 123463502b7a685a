package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/tensor"
)

// arenaBytes holds every operand of the tests.
const arenaBytes = 256 << 10

// TestTwins compares every kernel of every set with plain Go, bit for bit, at
// every length up to a few turns of its loops, on plain values and with special
// ones among them. Memory faults just beyond what a kernel may read or write.
func TestTwins(t *testing.T) {
	arenas := newArenas(t, arenaBytes)
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) {
			for i, n := range f.lengths {
				if testing.Short() && n > 70 && i%5 != 0 {
					continue
				}
				for j, special := range []int{0, 500, 5} {
					gap, head := (i+j)%4, (i+j)/4%2 == 0
					if special == 0 {
						gap, head = 0, false // flush with the guard page
					}
					draw := func() *source { return newSource(uint64(n), special) }
					compare(t, arenas, draw, gap, head, fmt.Sprintf("n=%d", n), func(c *caller) { f.run(c, n) })
				}
			}
		})
	}
}

// FuzzTwins is TestTwins on raw bits.
func FuzzTwins(f *testing.F) {
	pattern := make([]byte, 999)
	for i := range pattern {
		pattern[i] = byte(i * 37)
	}
	all := families()
	for i := range all {
		f.Add([]byte{0}, uint8(i), uint16(i*5), uint8(i))
		f.Add(pattern, uint8(i), uint16(64), uint8(i))
	}
	arenas := newArenas(f, arenaBytes)
	f.Fuzz(func(t *testing.T, raw []byte, which uint8, length uint16, at uint8) {
		if len(raw) == 0 {
			return
		}
		family := all[int(which)%len(all)]
		n := family.lengths[int(length)%len(family.lengths)]
		draw := func() *source {
			s := newSource(1, 0)
			s.raw = raw
			return s
		}
		compare(t, arenas, draw, int(at%4), at&4 != 0, fmt.Sprintf("%s, n=%d", family.name, n), func(c *caller) { family.run(c, n) })
	})
}

// callRows calls the kernels over rows of type dt and n elements.
func callRows(c *caller, dt rowType, n int) {
	const rows = 5
	k, rowBytes := dt.of(c.s), int(dt.RowBytes(n))
	all, x := c.weights(dt.DType, rows*n), c.floats(4*n)
	in, stride := inputs(dt, x, 4, n, c.gap)
	in = give(c, in)
	var w [4][]byte
	var ahead [4]*byte
	for i := range w {
		w[i] = give(c, all[i*rowBytes:(i+1)*rowBytes])
	}
	var next *byte
	if rowBytes > 0 && c.gap > 0 {
		next = &w[0][0] // any address will do
		ahead = [4]*byte{next, next, next, next}
	}
	note(c, "Dot", k.Dot(w[0], in, next))
	four := k.Dot4(w[0], in, stride, next)
	note(c, "Dot4", four[:]...)
	matrix := give(c, all)
	for m := range rows + 1 {
		take(c, fmt.Sprint("MatVec of ", m), make([]float32, m), func(y []float32) { k.MatVec(y, matrix[:m*rowBytes], rowBytes, in, 4096) })
		take(c, fmt.Sprint("MatVec2 of ", m), make([]float32, 2*m), func(y []float32) { k.MatVec2(y[:m], y[m:], matrix, matrix[(rows-m)*rowBytes:], rowBytes, in, 4096) })
	}
	for m := range rows + 1 {
		take(c, fmt.Sprint("Fine of ", m), make([]float32, m), func(y []float32) {
			if k.Fine != nil {
				k.Fine(y, matrix[:m*rowBytes], rowBytes, in, stride, 4096)
				return
			}
			for i := range y {
				row := matrix[i*rowBytes:][:rowBytes]
				y[i] = k.Dot(row, in, nil) + k.Dot(row, in[stride:], nil)
			}
		})
	}
	if k.Axpy == nil {
		return
	}
	a := c.floats(4)
	y := c.floats(n)
	take(c, "Axpy", y, func(y []float32) { k.Axpy(y, a[0], w[0], next) })
	take(c, "Axpy4", y, func(y []float32) { k.Axpy4(y, (*[4]float32)(a), &w, &ahead) })
	if dt.Quantised() {
		callQuantRows(c, k, w, in, stride, n, next)
	}
}

// callQuantRows calls what only quantised rows have.
func callQuantRows(c *caller, k *Rows, w [4][]byte, in []byte, stride, n int, next *byte) {
	blocks := n / tensor.QuantBlock
	codes := take(c, "Pairs, codes", make([]uint32, blocks*pairWords), func(o []uint32) { k.Pairs(o, make([]float32, blocks), w[0], next) })
	scales := take(c, "Pairs, scales", make([]float32, blocks), func(o []float32) { k.Pairs(make([]uint32, blocks*pairWords), o, w[0], next) })
	if slots := n / OuterCols; slots > 0 {
		h, rows := give(c, c.floats(9)), make([]int32, 9)
		for i := range rows {
			rows[i] = int32(c.bits()) & (1<<31 - 1) % int32(slots)
		}
		rows, codes, scales = give(c, rows), give(c, codes), give(c, scales)
		take(c, "OuterPairs", c.floats(OuterCols), func(y []float32) { c.s.OuterPairs(y, h, rows, codes, scales, &h[0]) })
	}
	if !QuantTiles(n) {
		return
	}
	for i := range w {
		at := c.arenas[len(c.arenas)-1-i] // which no operand has taken yet
		wide := place(at, make([]byte, WideBytes(n)), c.gap, c.head)
		k.Widen(wide, w[i], next)
		w[i] = wide
	}
	for tokens := 1; tokens <= QuantTokens; tokens++ {
		var tile [QuantRows * QuantTokens]float32
		k.Tile(&tile, &w, in, stride, tokens)
		note(c, fmt.Sprint("Tile of ", tokens), tile[:]...)
	}
}

// callTiles calls the kernels over tiles of rows of n floats.
func callTiles(c *caller, n int) {
	x, w := c.floats(TileTokens*n), [TileRows][]float32{}
	for i := range w {
		w[i] = give(c, c.floats(n))
	}
	panel := take(c, "PanelRow", make([]float32, TileTokens*n), func(panel []float32) {
		for j := range TileTokens {
			c.s.PanelRow(panel, j, place(c.arenas[len(c.arenas)-1], x[j*n:(j+1)*n], c.gap, c.head))
		}
	})
	panel = give(c, panel)
	var tile [TileRows * TileTokens]float32
	c.s.TileF32(&tile, &w, panel)
	note(c, "TileF32", tile[:]...)
	var h [TileRows][]uint16
	for i := range h {
		h[i] = give(c, c.halves(n))
		w[i] = make([]float32, n)
		decodeF16(w[i], h[i])
	}
	if c.s.TileF16 != nil {
		c.s.TileF16(&tile, &h, panel)
	} else {
		c.s.TileF32(&tile, &w, panel)
	}
	note(c, "TileF16", tile[:]...)
	var rows [TileRows]float32
	c.s.RowsF32(&rows, &w, give(c, x[:n]))
	note(c, "RowsF32", rows[:]...)
}

// callOuter calls the kernels that add n rows to outputs.
func callOuter(c *caller, n int) {
	stride, hStride := OuterCols+c.gap, TileTokens+c.gap
	h := give(c, c.floats(max(0, (n-1)*hStride+TileTokens)))
	w := give(c, c.floats(n*OuterCols))
	take(c, "Outer", c.floats((TileTokens-1)*stride+OuterCols), func(y []float32) { c.s.Outer(y, stride, h, hStride, w) })
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(c.bits()) & (1<<31 - 1) % int32(n)
	}
	rows = give(c, rows)
	take(c, "OuterAt", c.floats(OuterCols), func(y []float32) { c.s.OuterAt(y, h[:n], rows, w) })
}

func callSketches(c *caller, n int) {
	w := give(c, c.bytes(n))
	x := give(c, c.codes(max(2*n, n*8/3)))
	note(c, "DotU4S8", c.s.DotU4S8(w, x), c.s.DotU3S8(w, x))
	four := c.s.Dot4U4S8(w[:n/4], x, n/2)
	note(c, "Dot4U4S8", four[:]...)
	four = c.s.Dot4U3S8(w[:n/4], x, n*2/3)
	note(c, "Dot4U3S8", four[:]...)
}

func callQuantize(c *caller, n int) {
	x := give(c, c.floats(n))
	take(c, "QuantizeS8", make([]int8, n), func(q []int8) {
		scale, sum := c.s.QuantizeS8(q, x)
		note(c, "QuantizeS8, scale", scale)
		note(c, "QuantizeS8, sum", sum)
	})
	x = x[:n&^31]
	records := take(c, "", bytes5a(QuantXBytes(len(x))), func(o []byte) { c.s.QuantizeX(o, x, ZeroQ4) })
	c.out = c.out[:len(c.out)-1]
	for i, v := range Elements[float32](records) { // a NaN's payload is free in scales alone
		if i%64 >= 48 {
			note(c, "QuantizeX, scales", v)
		}
	}
	for len(records) > 0 {
		note(c, "QuantizeX", records[:192]...)
		records = records[256:]
	}
	records = take(c, "", bytes5a(RoundXBytes(len(x))), func(o []byte) { c.s.RoundX(o, x) })
	c.out = c.out[:len(c.out)-1]
	for ; len(records) > 0; records = records[roundBytes:] {
		note(c, "RoundX, codes", records[:roundScales]...)
		note(c, "RoundX, scales", Elements[float32](records[roundScales:roundSums])...)
		note(c, "RoundX, sums", records[roundSums:roundLeast]...)
		note(c, "RoundX, sums times scales", Elements[float32](records[roundLeast:roundBytes])...)
	}
}

// bytes5a is n bytes that are not zero.
func bytes5a(n int) []byte { return []byte(strings.Repeat("Z", n)) }

func callConvert(c *caller, n int) {
	h, x := give(c, c.halves(n)), give(c, c.floats(n))
	take(c, "DecodeF16", make([]float32, n), func(o []float32) { c.s.DecodeF16(o, h) })
	take(c, "DecodeBF16", make([]float32, n), func(o []float32) { c.s.DecodeBF16(o, h) })
	take(c, "EncodeF16", make([]uint16, n), func(o []uint16) { c.s.EncodeF16(o, x) })
}

func callSwish(c *caller, n int) {
	x, up := c.floats(n), give(c, c.floats(n))
	for i := range x {
		x[i] *= 8
	}
	take(c, "SiLU", x, func(h []float32) { c.s.Swish(h, nil, 1, 0) })
	take(c, "GELU times up", x, func(h []float32) { c.s.Swish(h, up, GELULinear, GELUCubic) })
}

func callLoad(c *caller, n int) {
	b := give(c, c.bytes(n))
	sum := c.s.Load(b, nil)
	note(c, "Load", uint32(sum), uint32(sum>>32))
}

// TestAll names what this machine cannot test, so that no log reads as if it
// had been.
func TestAll(t *testing.T) {
	has := map[string]bool{}
	for _, s := range All() {
		has[s.Name] = true
		whole(t, s.Name, reflect.ValueOf(s))
	}
	if All()[0].Name != "go" {
		t.Errorf("first set is %s, want go", All()[0].Name)
	}
	for _, name := range []string{"go", "avx2", "avx512", "avx512-rows"} {
		if !has[name] {
			t.Logf("NOT TESTED on this machine or build (%s/%s): the %s kernels", runtime.GOOS, runtime.GOARCH, name)
		}
	}
}

// whole reports the fields of v that are not set.
func whole(t *testing.T, name string, v reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i).Name
		switch quantised := field == "Widen" || field == "Tile" || field == "Pairs"; {
		case v.Field(i).Kind() == reflect.Struct:
			whole(t, name+"."+field, v.Field(i))
		case field == "TileF16" || field == "Gemm" || field == "Fours" || field == "Fine" || field == "two": // some have none
		case field == "Blocks":
			for _, dt := range blockTypes {
				if k, ok := v.Field(i).Interface().(map[tensor.DType]*Rows)[dt.DType]; !ok || k.Dot == nil || k.Dot4 == nil || k.MatVec == nil {
					t.Errorf("%s: no rows of %v", name, dt)
				}
			}
		case v.Field(i).IsZero() != (quantised && strings.Contains(name, "F")):
			t.Errorf("%s: field %s: set is %v", name, field, !v.Field(i).IsZero())
		}
	}
}

// TestBest holds the choice between the sets for AVX-512 to the vendor that the
// system names.
func TestBest(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	best := Best().Name
	if err != nil || !strings.HasPrefix(best, "avx512") {
		t.Logf("NOT TESTED on this machine or build: the choice between sets for AVX-512 (best is %s)", best)
		return
	}
	want := "avx512"
	if strings.Contains(string(info), "GenuineIntel") {
		want = "avx512-rows"
	}
	if best != want {
		t.Errorf("best set: got %s, want %s", best, want)
	}
}

// TestAVX2Registers holds that the AVX2 assembly names no register beyond the
// sixteen that AVX2 has. A processor with AVX-512 would run it all the same.
func TestAVX2Registers(t *testing.T) {
	names, err := filepath.Glob("amd64/*avx2*.s")
	if err != nil || len(names) == 0 {
		t.Fatalf("AVX2 assembly: got %v, %v", names, err)
	}
	for _, name := range names {
		asm, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bad := regexp.MustCompile(`\b(Z\d+|[XY](1[6-9]|2\d|3[01])|K[0-7])\b`).Find(asm); bad != nil {
			t.Errorf("%s uses %s", name, bad)
		}
	}
}

// TestNoAllocation holds that a kernel called through a Set allocates nothing.
func TestNoAllocation(t *testing.T) {
	const n = 640
	src := newSource(7, 0)
	x, y, q := src.floats(TileTokens*n), src.floats(n), make([]int8, n)
	panel, codes, scales, at := make([]float32, TileTokens*n), make([]uint32, n/2), make([]float32, n/tensor.QuantBlock), []int32{0, 1}
	floats := [TileRows][]float32{x[:n], x[n:][:n], x[:n], x[:n]}
	var tile [TileRows * TileTokens]float32
	for _, s := range All() {
		for _, dt := range blockTypes {
			k, w := dt.of(&s), src.weights(dt.DType, 2*512)
			in, stride := inputs(dt, x, 4, 512, 0)
			if got := testing.AllocsPerRun(3, func() {
				s.RoundX(Bytes(panel), y)
				k.Dot(w[:len(w)/2], in, &w[0])
				k.Dot4(w[:len(w)/2], in, stride, nil)
				k.MatVec(y[:2], w, len(w)/2, in, 4096)
				k.MatVec2(y[:1], y[1:2], w, w[len(w)/2:], len(w)/2, in, 4096)
			}); got != 0 {
				t.Errorf("%s, %v: %v allocations, want 0", s.Name, dt, got)
			}
		}
		for _, dt := range rowTypes {
			k, w := dt.of(&s), src.weights(dt.DType, n)
			in, stride := inputs(dt, x, 4, n, 0)
			rows, ahead, a := [4][]byte{w, w, w, w}, [4]*byte{}, [4]float32{}
			wide := make([]byte, WideBytes(n))
			tiles := [4][]byte{wide, wide, wide, wide}
			if got := testing.AllocsPerRun(3, func() {
				k.Dot(w, in, &w[0])
				k.Dot4(w, in, stride, nil)
				k.Axpy(y, 1, w, nil)
				k.Axpy4(y, &a, &rows, &ahead)
				k.MatVec(y[:1], w, len(w), in, 4096)
				if dt.Quantised() {
					k.Widen(wide, w, nil)
					k.Tile((*[16]float32)(tile[:]), &tiles, in, stride, 1)
					k.Tile((*[16]float32)(tile[:]), &tiles, in, stride, 4)
					k.Pairs(codes, scales, w, nil)
				}
			}); got != 0 {
				t.Errorf("%s, %v: %v allocations, want 0", s.Name, dt, got)
			}
		}
		if got := testing.AllocsPerRun(3, func() {
			s.QuantizeS8(q, y)
			s.QuantizeX(Bytes(panel), y, ZeroQ8)
			s.PanelRow(panel, 1, y)
			s.TileF32(&tile, &floats, panel)
			s.RowsF32((*[TileRows]float32)(tile[:]), &floats, y)
			s.Outer(x, OuterCols, y, TileTokens, panel[:OuterCols])
			s.OuterAt(y, x, at, panel[:2*OuterCols])
			s.OuterPairs(y, x, at, codes, scales, nil)
			s.Load(Bytes(x), nil)
		}); got != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, got)
		}
	}
}
