package placement

import (
	"slices"
	"strings"
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Shares that binary fractions miss are of the number of neurons meant.
func TestRatioRounds(t *testing.T) {
	in := with(layoutOf(t, profile(10, 8, 1, 100, 10)), "", 0)
	for r, want := range map[float64]int{0: 0, 0.29: 29, 0.3: 30, 0.57: 57, 0.58: 58, 0.999: 100, 1: 100} {
		if got := mustPlan(t, in.ratio(r)).Slots[0]; got != want {
			t.Errorf("ratio %v: got %d slots of 100, want %d", r, got, want)
		}
	}
}

// A share of 100 % is everything, and so is one of more, with a note.
func TestHugeShare(t *testing.T) {
	in := with(layoutOf(t, profile(10, 8, 1, 100, 10)), config.Predicted, 640)
	for _, share := range []float64{1, 1.5, 1e300} {
		p := mustPlan(t, in.budget(config.Budget{Share: share}))
		if p.Slots[0] != 100 || p.Tiers[1].Bytes != 0 || p.Process.BudgetBytes != p.Process.TotalBytes || hasNotice(p, "100%, which is everything") != (share > 1) {
			t.Errorf("share %g: got %d slots of 100, a budget of %d and notices %q", share, p.Slots[0], p.Process.BudgetBytes, p.Notices)
		}
	}
}

// Which mode runs, and what the user is told of it.
func TestModes(t *testing.T) {
	relu := profile(10, 8, 2, 100, 10)
	gelu := relu
	gelu.Activation = config.GELU
	layouts := map[config.Activation]*pack.Layout{config.ReLU: layoutOf(t, relu), config.GELU: layoutOf(t, gelu)}
	for _, c := range []struct {
		act    config.Activation
		mode   config.Mode
		want   config.Mode
		notice string
	}{
		{config.ReLU, "", config.Predicted, ""},
		{config.ReLU, config.Auto, config.Predicted, ""},
		{config.ReLU, config.Dense, config.Dense, ""},
		{config.ReLU, config.Gate, config.Gate, ""},
		{config.ReLU, config.Predicted, config.Predicted, ""},
		{config.GELU, "", config.Dense, ""},
		{config.GELU, config.Auto, config.Dense, ""},
		{config.GELU, config.Dense, config.Dense, ""},
		{config.GELU, config.Gate, config.Dense, "gelu is not sparse: running dense"},
		{config.GELU, config.Predicted, config.Dense, "gelu is not sparse: running dense"},
	} {
		in := with(layouts[c.act], c.mode, 640)
		in.Processors = 3
		p := mustPlan(t, in)
		if p.Mode != c.want || strings.Join(p.Notices, "\n") != c.notice {
			t.Errorf("%s, mode %q: got mode %s, notices %q, want %s, %q", c.act, c.mode, p.Mode, p.Notices, c.want, c.notice)
		}
		if p.Predicted[0] != (c.want == config.Predicted) || p.Threads != 3 || p.Context != 10 {
			t.Errorf("%s, mode %q: got predictors %v, %d threads, context %d, want threads 3, context 10", c.act, c.mode, p.Predicted, p.Threads, p.Context)
		}
	}
	in := with(layouts[config.ReLU], "", 640)
	least := mustPlan(t, in).Process.MinimumBytes
	p := mustPlan(t, in.budget(config.Budget{Bytes: least}))
	if !hasNotice(p, "9 of 9 matrices do not fit") || !p.Predicted[0] || !p.Predicted[1] {
		t.Errorf("at the minimum: got predicted %v, notices %q, want both layers predicted and no matrix resident", p.Predicted, p.Notices)
	}
	// What an exact mode saves is what the predictors take.
	_, err := Plan(in.budget(config.Budget{Bytes: least - 1}))
	if err == nil || !strings.Contains(err.Error(), "use --mode gate, which saves the predictors' 1.28 kB") {
		t.Errorf("below the minimum: got %v, want a word about mode gate", err)
	}
	if q := mustPlan(t, in.mode(config.Gate)); mapped(q.Process.MinimumBytes) != mapped(least)-2*640 {
		t.Errorf("gate: got a minimum of %d, want %d less than %d, by the predictors", q.Process.MinimumBytes, 2*640, least)
	}
}

// Layers have modes of their own: those that are predicted have a predictor,
// and the others take no room for one.
func TestModesByLayer(t *testing.T) {
	in := with(layoutOf(t, profile(10, 8, 3, 100, 10)), config.Gate, 640)
	in.Strategy.Mode, in.Layers[1].Mode = config.Auto, config.Predicted
	p := mustPlan(t, in)
	if p.Mode != config.Predicted || !p.Auto || !slices.Equal(p.Predicted, []bool{false, true, false}) || givenOut(in, p).predictors != 640 {
		t.Errorf("got mode %s, predicted %v, want layer 1 predicted", p.Mode, p.Predicted)
	}
	in.Layers[1].Mode = config.Gate
	if p := mustPlan(t, in); p.Mode != config.Gate || !p.Auto {
		t.Errorf("all by the gate: got mode %s, auto %v, want gate and true", p.Mode, p.Auto)
	}
}

func TestContext(t *testing.T) {
	long, short := layoutOf(t, profile(10, 8, 2, 100, 3000)), layoutOf(t, profile(10, 8, 2, 100, 70))
	for _, c := range []struct {
		pack      *pack.Layout
		ctx, want int
	}{{long, 0, 2048}, {long, 3000, 3000}, {long, 5, 5}, {short, 0, 70}, {short, 70, 70}} {
		in := with(c.pack, "", 0)
		in.Strategy.Context = c.ctx
		p := mustPlan(t, in)
		// Keys and values of 2 layers, 8 f32 each, in pages of 64 tokens.
		if want := int64(kv.Pages(c.want)) * 64 * 2 * 2 * 8 * 4; p.Context != c.want || p.KVBytes != want {
			t.Errorf("ctx %d: got %d, %d bytes, want %d, %d", c.ctx, p.Context, p.KVBytes, c.want, want)
		}
	}
	in := with(short, "", 0)
	in.Strategy.Context = 71
	if p, err := Plan(in); p != nil || err == nil || !strings.Contains(err.Error(), "ctx: got 71, want at most 70") {
		t.Errorf("ctx 71 of 70: got %v, %v", p, err)
	}
	in.Strategy.Context = -1
	if _, err := Plan(in); err == nil {
		t.Error("an invalid strategy: got no error")
	}
}

// Blocks of 32 do not fit heads of 4.
func TestKVBlocks(t *testing.T) {
	in := with(layoutOf(t, profile(10, 8, 2, 100, 70)), "", 0)
	in.Strategy.KV = tensor.Q8_0
	want := "placement: kv: got Q8_0 for a model of head dim 4, want a multiple of 32, or f16"
	if p, err := Plan(in); p != nil || err == nil || err.Error() != want {
		t.Errorf("got %v, %v, want %s", p, err, want)
	}
	in.Layout = layoutOf(t, profile(10, 64, 2, 100, 70))
	// Keys and values of 2 layers, blocks of 34 bytes, in 2 pages of 64 tokens.
	if p := mustPlan(t, in); p.KVBytes != 2*64*2*2*2*34 {
		t.Errorf("got %d bytes, want %d", p.KVBytes, 2*64*2*2*2*34)
	}
}

// A budget beyond what is free is the user's to choose, with a warning.
func TestMoreThanFree(t *testing.T) {
	in := with(layoutOf(t, profile(10, 8, 2, 100, 10)), "", 0)
	in.Strategy.Budget = config.Budget{Share: 1}
	needs := mustPlan(t, in).Process.BudgetBytes
	for _, free := range []int64{0, needs, needs - 1} {
		in.FreeBytes = free
		if p := mustPlan(t, in); hasNotice(p, "that are free") != (free == needs-1) {
			t.Errorf("%d bytes free for %d: got notices %q", free, needs, p.Notices)
		}
	}
}
