package placement

import (
	"testing"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
)

// The layers of a dense model that stream lie among those that are resident, as
// evenly as can be, and what is read ahead of them has memory where there is some.
func TestSpread(t *testing.T) {
	const layers = 11
	p := profile(300, 256, layers, 4096, 100)
	p.Activation = config.GELU
	in := with(layoutOf(t, p), "", 0)
	all := mustPlan(t, in)
	if n := streaming(all.Streams); n != 0 || all.BlockSlots != disk.StreamBuffers {
		t.Errorf("all resident: got %d layers that stream and %d buffers, want none and %d", n, all.BlockSlots, disk.StreamBuffers)
	}
	least := mustPlan(t, in.budget(config.Budget{Bytes: all.Process.MinimumBytes}))
	if n := streaming(least.Streams); n != layers || least.BlockSlots != disk.StreamBuffers {
		t.Errorf("the smallest budget: got %d layers that stream and %d buffers, want %d and %d", n, least.BlockSlots, layers, disk.StreamBuffers)
	}
	for resident := 1; resident < layers; resident++ {
		share := float64(resident) / layers
		half := mustPlan(t, in.budget(config.Budget{Share: share}))
		if n := layers - streaming(half.Streams); n < resident-1 || n > resident {
			t.Errorf("%.0f %%: got %d resident layers, want %d or one less", 100*share, n, resident)
		}
		// Of every beginning of the layers about that share streams.
		streams := 0
		for l, s := range half.Streams {
			if s {
				streams++
			}
			if want := (1 - share) * float64(l+1); float64(streams) < want-2 || float64(streams) > want+2.5 {
				t.Errorf("%.0f %%: got %d of the first %d layers that stream, want about %.1f: %v", 100*share, streams, l+1, want, half.Streams)
			}
		}
	}
	// A 64th of the room: of 44 MB less than a block, of ten times that some.
	p.FFN *= 10
	in = with(layoutOf(t, p), "", 0)
	if p := mustPlan(t, in.budget(config.Budget{Share: 0.9})); p.BlockSlots != disk.StreamBuffers+6 {
		t.Errorf("got %d buffers, want %d", p.BlockSlots, disk.StreamBuffers+6)
	}
}
