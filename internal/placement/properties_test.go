package placement

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// check holds a placement that fits to what is true of all.
func check(t *rapid.T, in Input, p *Placement) {
	t.Helper()
	m, profile, g := in.Layout, in.Layout.Profile(), givenOut(in, p)
	if !p.Fits {
		t.Fatal("got no error and a placement that does not fit")
	}
	if used := vectors(m) + g.total(); used > p.Share.BudgetBytes {
		t.Fatalf("weights: got %d bytes given out, want at most the budget of %d", used, p.Share.BudgetBytes)
	}
	if tok := p.Token; tok.StreamedBytes > tok.SlowBytes || p.Streamed > 0 && tok.StreamedBytes == 0 {
		t.Fatalf("%d matrices stream: got %d bytes of them a token, and %d read in all", p.Streamed, tok.StreamedBytes, tok.SlowBytes)
	}
	if used := p.Tiers[0].Bytes; used > p.Process.BudgetBytes {
		t.Fatalf("process: got %d bytes used, want at most the budget of %d", used, p.Process.BudgetBytes)
	}
	if rest := p.Tiers[0].Bytes - vectors(m) - g.total(); p.Share.BudgetBytes+rest > p.Process.BudgetBytes {
		t.Fatalf("got a budget of %d for weights and %d bytes for the rest, want at most %d", p.Share.BudgetBytes, rest, p.Process.BudgetBytes)
	}
	if p.LoadBytes != vectors(m)+g.total()-g.slots {
		t.Fatalf("got %d bytes to load, want %d", p.LoadBytes, vectors(m)+g.total()-g.slots)
	}
	for _, tier := range p.Tiers {
		sum := int64(0)
		for _, it := range tier.Items {
			if it.Bytes < 0 {
				t.Fatalf("%s: got %d bytes of %s", tier.Name, it.Bytes, it.What)
			}
			sum += it.Bytes
		}
		if sum != tier.Bytes {
			t.Fatalf("%s: got items of %d bytes, want %d", tier.Name, sum, tier.Bytes)
		}
	}
	if len(p.Slots) != profile.Layers || len(p.Predicted) != profile.Layers {
		t.Fatalf("got %d and %d layers, want %d", len(p.Slots), len(p.Predicted), profile.Layers)
	}
	for l, n := range p.Slots {
		if n > unitsOf(m, l) || unitsOf(m, l) > 0 && p.SlotBytes[l] != slotBytes(m, l) {
			t.Fatalf("layer %d of %v: got %d slots of %d bytes for %d units", l, p.Slots, n, p.SlotBytes[l], unitsOf(m, l))
		}
		// A layer's mode depends on no budget.
		want := in.Layers[l].Mode == config.Predicted
		if p.Predicted[l] != want {
			t.Fatalf("layer %d: got predicted %v in mode %s, layers %v", l, p.Predicted[l], p.Mode, in.Layers)
		}
	}
	checkEven(t, in, p)
	all, resident := int64(0), 0
	for _, x := range m.Tensors() {
		if x.Kind != pack.Tokenizer && disk.BlockBuffer(x) > p.BlockBytes {
			t.Fatalf("got blocks of %d bytes, want %d for %s", p.BlockBytes, disk.BlockBuffer(x), x.Name)
		}
		if x.Kind == pack.Matrix {
			all += memory.PieceBytes(x.Bytes())
			if p.Resident[x.Name] {
				resident++
			}
		}
	}
	if resident != len(p.Resident) {
		t.Fatalf("got %d matrices resident of %v, want all to be the pack's", resident, p.Resident)
	}
	if got, want := p.Tiers[1].Bytes, allSlots(m, profile.Units())-g.slots+all-g.matrices-g.tables; got != want {
		t.Fatalf("slow: got %d bytes, want %d", got, want)
	}
	most := max(2, profile.BundledNeurons()/4)
	if profile.Experts() > 0 {
		most = 8
	}
	if p.RingSlots < 2 && profile.Units() > 0 || p.RingSlots%2 != 0 || p.RingSlots > most {
		t.Fatalf("got a ring of %d slots for %d units, want an even number from 2 to %d", p.RingSlots, profile.Units(), most)
	}
	// What is left over has no use.
	left := p.Share.BudgetBytes - vectors(m) - g.total()
	if p.Streamed > 0 && in.Strategy.Budget.Share == 0 {
		room := p.Share.BudgetBytes - vectors(m) - g.predictors
		if in.Strategy.GPUCacheRatio != nil {
			room -= g.slots
		}
		left -= min(room/aheadShare, mostAhead*memory.BufferBytes(p.BlockBytes))
	}
	perSlot := allSlots(m, 1)
	for l, n := range p.Slots {
		if profile.Experts() > 0 {
			perSlot = p.RingBytes // the largest
		}
		if in.Strategy.GPUCacheRatio == nil && left >= perSlot && n < unitsOf(m, l) {
			t.Fatalf("got %v slots and %d bytes left over, want another slot of %d", p.Slots, left, perSlot)
		}
	}
	for _, x := range m.Tensors() {
		if x.Kind == pack.Matrix && !p.Resident[x.Name] && memory.PieceBytes(x.Bytes()) <= left {
			t.Fatalf("got %d bytes left over, want %s resident", left, x.Name)
		}
	}
	take(t, in, p)
}

// checkEven wants the same number of slots in all layers, or one more of experts in the
// first ones. Fewer than a token wants of a layer are of no use there: then the first
// layers have as many as that and the last ones none.
func checkEven(t *rapid.T, in Input, p *Placement) {
	t.Helper()
	var slots []int
	for l, n := range p.Slots {
		if unitsOf(in.Layout, l) > 0 {
			slots = append(slots, n)
		}
	}
	if len(slots) == 0 {
		return
	}
	first, last, topK := slots[0], slots[len(slots)-1], in.Layout.Profile().MostTopK()
	more := 0
	if topK > 0 && in.Strategy.GPUCacheRatio == nil {
		more = 1
	}
	if last < topK && more == 1 {
		more = topK
	}
	if !slices.IsSortedFunc(slots, func(a, b int) int { return b - a }) || first-last > more || more > 1 && first > topK {
		t.Fatalf("got %v slots for tokens that want %d, want the same everywhere", p.Slots, topK)
	}
	between := 0
	for _, n := range slots {
		if n != first && n != last {
			between++
		}
	}
	if between > 1 {
		t.Fatalf("got %v slots, want at most one layer between", p.Slots)
	}
}

// mapped is a budget of the process without its page tables.
func mapped(budget int64) int64 { return budget - budget/512 }

// take takes all pieces from a Memory as the engine does.
func take(t *rapid.T, in Input, p *Placement) {
	t.Helper()
	mem, err := memory.New(p.MemoryBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	mem.Piece(in.ScratchBytes(p.Chunk))
	mem.Piece(p.KVBytes)
	for range 1 + p.BlockSlots {
		mem.Buffer(p.BlockBytes)
	}
	slots := int64(p.RingSlots) * p.RingBytes
	for l, n := range p.Slots {
		slots += int64(n) * slotBytes(in.Layout, l)
	}
	mem.Buffer(slots)
	mem.Buffer(disk.GapBytes(in.Layout.BundleStride()))
	for _, x := range in.Layout.Tensors() {
		if x.Kind == pack.Vector || p.Resident[x.Name] {
			mem.Piece(x.Bytes())
		}
	}
	for l, here := range p.Predicted {
		if mapped := in.Layers[l].PredictorBytes - in.Layers[l].HeapBytes; here && mapped > 0 {
			mem.Piece(mapped)
		}
	}
}

// drawBudget is a budget anywhere from hopeless to plenty.
func drawBudget(t *rapid.T, in Input) config.Budget {
	p := mustPlan(t, in) // all free memory: everything fits
	if rapid.Bool().Draw(t, "share") {
		return config.Budget{Share: rapid.Float64Range(1e-6, 2).Draw(t, "budget")}
	}
	return config.Budget{Bytes: rapid.Int64Range(1, p.Process.TotalBytes*5/4).Draw(t, "budget")}
}

// Whatever the model, the strategy and the budget: what is given out fits, can
// be taken, adds up, and leaves over nothing of use.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			in = in.budget(drawBudget(t, in))
		case 1:
			in = in.ratio(rapid.Float64Range(0, 1).Draw(t, "ratio"))
		case 2:
			in = in.budget(drawBudget(t, in)).ratio(rapid.Float64Range(0, 1).Draw(t, "ratio"))
		case 3:
			in.FreeBytes = rapid.Int64Range(0, 2*mustPlan(t, in).Process.TotalBytes).Draw(t, "free")
		}
		p, err := Plan(in)
		if err != nil {
			wantTooSmall(t, in)
			return
		}
		check(t, in, p)
	})
}

// The minimum works, a byte less does not, and but for the predictors that the
// modes need it is the same whatever the mode, the predictor and the ratio.
func TestMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		p := mustPlan(t, in)
		least := p.Process.MinimumBytes
		check(t, in, mustPlan(t, in.budget(config.Budget{Bytes: least})))
		_, e := wantTooSmall(t, in.budget(config.Budget{Bytes: least - 1}))
		if e.Minimum != sizeOf(least) || !strings.Contains(e.Error(), "--budget") {
			t.Fatalf("got %q, want a minimum of %s", e, sizeOf(least))
		}
		if share := p.Share.MinimumBytes; share > 0 && share < p.Share.TotalBytes { // 100 % is everything
			of := func(n int64) config.Budget {
				return config.Budget{Share: (float64(n) + 0.5) / float64(p.Share.TotalBytes)}
			}
			check(t, in, mustPlan(t, in.budget(of(share))))
			_, e := wantTooSmall(t, in.budget(of(share-1)))
			wantMinimum(t, in, e)
		}
		other := drawInput(t, in.Layout)
		other.ScratchBytes, other.BackendBytes, other.Strategy.KV, other.Strategy.Context = in.ScratchBytes, in.BackendBytes, in.Strategy.KV, in.Strategy.Context
		if rapid.Bool().Draw(t, "with ratio") {
			other = other.ratio(rapid.Float64Range(0, 1).Draw(t, "ratio"))
		}
		q := mustPlan(t, other)
		more := givenOut(other, q).predictors - givenOut(in, p).predictors
		if mapped(q.Process.MinimumBytes) != mapped(least)+more || q.Share.MinimumBytes != p.Share.MinimumBytes+more {
			t.Fatalf("minimum: got %d and %d, want %d and %d, as for another mode, predictor and ratio",
				q.Process.MinimumBytes, q.Share.MinimumBytes, least+more, p.Share.MinimumBytes+more)
		}
	})
}

// wantMinimum checks that the minimum that an error tells of works when it is
// given as the budget.
func wantMinimum(t *rapid.T, in Input, e *BudgetError) {
	t.Helper()
	text, _, _ := strings.Cut(e.Minimum, " (")
	if !strings.HasSuffix(text, "%") {
		_, text, _ = strings.Cut(e.Minimum, " (")
		text = strings.TrimSuffix(text, " bytes)")
	}
	b, err := config.ParseBudget(text)
	if err != nil {
		t.Fatalf("the minimum of %q is no budget: %v", e, err)
	}
	mustPlan(t, in.budget(b))
	if b.Bytes > 0 {
		wantTooSmall(t, in.budget(config.Budget{Bytes: b.Bytes - 1}))
	}
}

// More budget never gives less: of what is given out first, then of what comes
// after, and in all.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		all := mustPlan(t, in)
		share := rapid.Bool().Draw(t, "share")
		budget := all.Process.MinimumBytes
		if share {
			budget = all.Share.MinimumBytes
		}
		step := rapid.Int64Range(1, (all.Process.TotalBytes-all.Process.MinimumBytes)/50+2).Draw(t, "step")
		var before given
		chunk := 0
		for range 120 {
			b := config.Budget{Bytes: budget}
			if share {
				b = config.Budget{Share: (float64(budget) + 0.5) / float64(all.Share.TotalBytes)}
			}
			p := mustPlan(t, in.budget(b))
			g := givenOut(in, p)
			if g.total() < before.total() || p.Chunk < chunk || less(g, before) {
				t.Fatalf("budget %d: got %+v in chunks of %d, want at least %+v in chunks of %d, as with %d less", budget, g, p.Chunk, before, chunk, step)
			}
			before, chunk = g, p.Chunk
			budget += step
		}
	})
}

// less compares by what is given out first.
func less(a, b given) bool {
	switch {
	case a.predictors != b.predictors:
		return a.predictors < b.predictors
	case a.matrices != b.matrices:
		return a.matrices < b.matrices
	case a.slots != b.slots:
		return a.slots < b.slots
	}
	return a.tables < b.tables
}

// A ratio gives that share of the neurons a slot: without a budget whatever
// that takes, with one if it holds them, at the cost of what may stream.
func TestRatio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		ffn := in.Layout.Profile().Units()
		slots := rapid.IntRange(0, ffn).Draw(t, "slots")
		in = in.ratio(float64(slots) / float64(max(1, ffn))) // of none, where the MLPs are ordinary matrices
		p := mustPlan(t, in)
		check(t, in, p)
		if p.Slots[0] != slots || len(p.Resident) == 0 || hasNotice(p, "do not fit") {
			t.Fatalf("without a budget: got %d slots, notices %q, want %d and all else resident", p.Slots[0], p.Notices, slots)
		}
		if want := mapped(p.Process.TotalBytes) - allSlots(in.Layout, ffn) + allSlots(in.Layout, slots); mapped(p.Process.BudgetBytes) != want {
			t.Fatalf("without a budget: got one of %d, want %d and page tables: all but the units without a slot", p.Process.BudgetBytes, want)
		}
		b := drawBudget(t, in)
		p, err := Plan(in.budget(b))
		if p.Slots[0] != slots {
			t.Fatalf("budget %v: got %d slots, want %d", b, p.Slots[0], slots)
		}
		extra := allSlots(in.Layout, slots)
		least, got := mapped(p.Process.MinimumBytes)+extra, mapped(p.Process.BudgetBytes)
		if b.Share > 0 {
			least, got = p.Share.MinimumBytes+extra, p.Share.BudgetBytes
		}
		if (err == nil) != (got >= least) {
			t.Fatalf("budget %v of %d bytes: got %v, want an error below %d", b, got, err, least)
		}
		if err != nil {
			_, e := wantTooSmall(t, in.budget(b))
			if slots > 0 && !strings.Contains(e.Error(), "gpu-cache-ratio") {
				t.Fatalf("got %q, want the ratio in it", e)
			}
			wantMinimum(t, in, e)
			return
		}
		check(t, in.budget(b), p)
	})
}

// Without a budget all of a model is resident that 80 % of free memory holds.
func TestDefaultBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, drawLayout(t))
		all := mustPlan(t, in)
		in.FreeBytes = rapid.Int64Range(1, 2*all.Process.TotalBytes).Draw(t, "free")
		p, err := Plan(in)
		if err != nil {
			_, e := wantTooSmall(t, in)
			if !strings.Contains(e.Error(), "free memory") || strings.Contains(e.Error(), "--budget") {
				t.Fatalf("got %q, want free memory in it and no flag that was not given", e)
			}
		}
		if want := min(all.Process.TotalBytes, in.FreeBytes/5*4); p.Process.BudgetBytes != want {
			t.Fatalf("%d free: got a budget of %d, want %d", in.FreeBytes, p.Process.BudgetBytes, want)
		}
		if p.Process.BudgetBytes == all.Process.TotalBytes {
			all = p
		}
		if givenOut(in, all).slots != allSlots(in.Layout, in.Layout.Profile().Units()) || all.Tiers[1].Bytes != 0 || all.Token.SlowBytes != 0 {
			t.Fatalf("got %+v, want everything resident", all)
		}
	})
}

// Where the KV cache takes much of a budget of bytes, one note says what to
// change.
func TestNoticeOfKV(t *testing.T) {
	in := with(layoutOf(t, profile(10, 64, 64, 100, 2048)), "", 0)
	for kv, want := range map[tensor.DType]string{
		tensor.F32:  "lower --ctx, which is 2048, or use --kv f16",
		tensor.F16:  "lower --ctx, which is 2048, or use --kv q8_0",
		tensor.Q8_0: "",
	} {
		in.Strategy.KV = kv
		least := mustPlan(t, in).Process.MinimumBytes
		p := mustPlan(t, in.budget(config.Budget{Bytes: least}))
		got := strings.Join(p.Notices, "\n")
		if much := 3*p.KVBytes > least; much != strings.Contains(got, "the KV cache takes") || !strings.Contains(got, want) {
			t.Errorf("%v: got notices %q for %d bytes of %d, want %q", kv, got, p.KVBytes, least, want)
		}
		if want != "" && 3*p.KVBytes <= least {
			t.Errorf("%v: got a KV cache of %d bytes in %d, want more for this test", kv, p.KVBytes, least)
		}
	}
}
