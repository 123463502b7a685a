package placement

import (
	"fmt"

	"github.com/sparseflow/sparseflow/internal/cache"
	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/disk"
	"github.com/sparseflow/sparseflow/internal/kv"
	"github.com/sparseflow/sparseflow/internal/memory"
	"github.com/sparseflow/sparseflow/internal/pack"
	"github.com/sparseflow/sparseflow/internal/tensor"
)

// Input is what a plan is made from.
type Input struct {
	Layout   *pack.Layout // of the pack, there or to be made
	Strategy config.OffloadStrategy
	Layers   []Layer
	// Counts, if not nil, is how often each neuron was active on a text.
	Counts *cache.Counts
	// ActiveFrom is how the layers' share of active neurons is known, and ActiveLike
	// the published model that it is assumed from.
	ActiveFrom Activity
	ActiveLike string
	// ScratchBytes is the size of the activations for chunk tokens at a time, and
	// BackendBytes, nil for none, what the backend rounds and gathers them in, which
	// is on the Go heap.
	ScratchBytes, BackendBytes func(chunk int) int64
	// FreeBytes is what the system, or its memory cgroup, has free.
	FreeBytes int64
	// Processors is the number of processors.
	Processors int
	// RingSlots, if not 0, is the staging slots in place of as many as are
	// sensible; what they take beyond that comes on top of the budget.
	RingSlots int
}

// Activity is how a model's share of active neurons is known.
type Activity string

// The ways to know it.
const (
	Assumed  Activity = "assumed"  // to be as in a published model of the kind
	Drawn    Activity = "drawn"    // that is how the synthetic weights were drawn
	Measured Activity = "measured" // on some text
)

// Layer is what a layer computes, and what is known of that.
type Layer struct {
	Mode config.Mode // Dense, Gate or Predicted
	// Active and Computed are shares of all neurons: whose activation is not zero,
	// and that a predictor asks for.
	Active, Computed float64
	PredictorBytes   int64 // of a predicted layer
	HeapBytes        int64 // of these, on the Go heap
}

// Placement is what lives where. Executors obey it and decide nothing.
type Placement struct {
	Mode    config.Mode // Dense, Gate or, where any layer is, Predicted
	Auto    bool        // auto was asked for, and Mode is what it comes to
	Chosen  string      // what auto comes to in the layers, in words; empty without it
	Context int         // longest sequence, in tokens
	Chunk   int         // most tokens of one step
	Threads int

	Active     float64  // share of the neurons that is active at a token, over all layers; 0 of models that are not sparse
	ActiveFrom Activity // how that is known
	ActiveLike string   // the published model that it is assumed from, empty otherwise

	Resident  map[string]bool // matrices in fast memory; the others stream
	Streamed  int             // matrices that a token needs in full and that stream
	Streams   []bool          // [layers] that have matrices which stream
	Predicted []bool          // [layers] that compute what a predictor asks for, which is in fast memory
	// Gates says that the first parts of all neurons are in fast memory in mode Gate
	// and are the predictor: only neurons that they open are read.
	Gates     bool
	Slots     []int   // [layers] slots for units: neurons, or experts
	SlotBytes []int64 // [layers] of a slot, 0 in layers without units
	RingSlots int     // staging slots for units without a slot
	RingBytes int64   // of a staging slot

	KVBytes     int64
	BlockBytes  int64 // size of a staging buffer for a block of any tensor
	BlockSlots  int   // staging buffers that matrices stream through
	MemoryBytes int64 // all that is taken from memory.Memory
	LoadBytes   int64 // what is read at the start

	Share   Account // weights alone
	Process Account // the whole process
	Fits    bool    // the budget holds the minimum, and the slots asked for
	Tiers   []Tier
	Notices []string // what the user should know, in words
	Token   PerToken
}

// Account is a budget, the least that works without a ratio, and what all of
// it would be.
type Account struct {
	TotalBytes   int64 // everything resident
	BudgetBytes  int64
	MinimumBytes int64
}

const (
	// runtimeBytes is the process without a model: code, Go runtime, stacks,
	// and garbage that waits for collection. Measured: see docs/memory.md.
	runtimeBytes = 28 << 20
	// defaultContext is the longest sequence if none is asked for and the
	// model would allow a longer one.
	defaultContext = 2048
)

// Plan places a model. Where the budget is too small the error is a
// *BudgetError, and the placement comes with it, with Fits false, for those
// who show it.
func Plan(in Input) (*Placement, error) {
	p, err := newPlanner(in)
	if err != nil {
		return nil, err
	}
	err = p.place()
	p.describe()
	place := p.Placement // alone: the planner may hold on to predictors
	return &place, err
}

type planner struct {
	Placement
	in        Input
	profile   config.ModelProfile
	units     units
	routes    []route // that are known
	kv        kv.Shape
	vectors   int64         // bytes of norms and biases
	matrices  []pack.Tensor // needed in full by every token
	rowTables []pack.Tensor // of which a token needs one row
	tables    int64         // bytes of look-up tables on the Go heap
	matrixB   int64         // bytes of all matrices

	predictorBytes, heapBytes int64 // of all predictors, and of these on the Go heap
	residentBytes, slotBytes  int64 // that place gave out
}

func newPlanner(in Input) (*planner, error) {
	if err := in.Strategy.Validate(); err != nil {
		return nil, err
	}
	p := &planner{in: in, profile: in.Layout.Profile()}
	s := in.Strategy
	p.Threads = s.Threads
	if p.Threads == 0 {
		p.Threads = in.Processors
	}
	p.Context = s.Context
	if p.Context == 0 {
		p.Context = min(p.profile.MaxPositions, defaultContext)
	}
	if p.Context > p.profile.MaxPositions {
		return nil, flagErrorf("ctx: got %d, want at most %d, the model's longest", p.Context, p.profile.MaxPositions)
	}
	if hd := p.profile.HeadDim(); s.KV.Quantised() && hd%tensor.QuantBlock != 0 {
		return nil, flagErrorf("kv: got %v for a model of head dim %d, want a multiple of %d, or f16", s.KV, hd, tensor.QuantBlock)
	}
	p.BlockSlots = disk.StreamBuffers
	p.modes()
	p.kv = KVShape(p.profile, s.KV)
	p.survey()
	return p, nil
}

// modes says which modes run, and counts the predictors. These are never left out
// for want of room, since output depends on them.
func (p *planner) modes() {
	m := p.in.Strategy.Mode
	p.Auto = (m == "" || m == config.Auto) && p.profile.Sparse()
	if !p.profile.Sparse() && (m == config.Gate || m == config.Predicted) {
		if p.experts() {
			p.notice("the router of each layer names the experts that are computed: mode %s changes nothing", m)
		} else {
			p.notice("%s is not sparse: running dense", p.profile.Activation)
		}
	}
	p.Mode, p.ActiveFrom, p.ActiveLike = p.in.Layers[0].Mode, p.in.ActiveFrom, p.in.ActiveLike
	for _, l := range p.in.Layers {
		if p.profile.Sparse() {
			p.Active += l.Active / float64(len(p.in.Layers))
		}
		predicted := l.Mode == config.Predicted
		p.Predicted = append(p.Predicted, predicted)
		if predicted {
			p.Mode = config.Predicted
			p.predictorBytes += l.PredictorBytes
			p.heapBytes += l.HeapBytes
		}
	}
}

// KVShape is the shape of a model's KV cache.
func KVShape(p config.ModelProfile, dt tensor.DType) kv.Shape {
	s := kv.Shape{Layers: p.Layers, Heads: p.KVHeads, HeadDim: p.HeadDim(), DType: dt}
	for l := range p.Layers {
		s.Windows = append(s.Windows, p.Kind(l).Window)
	}
	return s
}

// kvBytes is the size of the KV cache of a text that is computed so many tokens at
// a time.
func (p *planner) kvBytes(chunk int) int64 {
	return int64(p.kv.Pages(p.Context, chunk)) * p.kv.PageBytes()
}

// survey sums up what the pack holds.
func (p *planner) survey() {
	p.surveyUnits()
	p.SlotBytes, p.RingSlots, p.RingBytes = p.units.strides, p.units.ring, p.units.largest
	for _, t := range p.in.Layout.Tensors() {
		if t.Kind != pack.Tokenizer {
			p.BlockBytes = max(p.BlockBytes, disk.BlockBuffer(t))
		}
		switch t.Kind {
		case pack.Vector:
			p.vectors += memory.PieceBytes(t.MemoryBytes())
		case pack.Matrix:
			p.matrixB += memory.PieceBytes(t.Bytes())
			// The embedding of an untied model and the position table give
			// one row to a token.
			if t.Name == "embed.positions" || t.Name == "embed.tokens" && !p.profile.TiedHead {
				p.rowTables = append(p.rowTables, t)
			} else {
				p.matrices = append(p.matrices, t)
			}
		}
	}
	spread(p.matrices, p.profile.Layers)
	// Vocabulary and merges as maps and strings: measured at about five times
	// their text.
	p.tables = OnHeap(5*p.in.Layout.TokenizerBytes() + p.units.tables)
}

// OnHeap is what n bytes take that live on the Go heap as long as the model. The
// runtime's own tables are another twentieth, and its collector begins a
// thirtieth below the limit; where it has no room above what lives it runs all
// the time.
func OnHeap(n int64) int64 { return n + n/10 }

// fixedBytes is what every run needs besides weights, for a chunk.
func (p *planner) fixedBytes(chunk int) int64 {
	return runtimeBytes + p.tables + disk.QueueBytes + p.takenBytes(chunk) + p.backendBytes(chunk)
}

// backendBytes is the part of the activations that is on the Go heap.
func (p *planner) backendBytes(chunk int) int64 {
	if p.in.BackendBytes == nil {
		return 0
	}
	return OnHeap(p.in.BackendBytes(chunk))
}

// takenBytes is the part of fixedBytes that is taken from memory.Memory.
func (p *planner) takenBytes(chunk int) int64 {
	return memory.PieceBytes(p.kvBytes(chunk)) + p.in.ScratchBytes(chunk) + p.stagingBytes()
}

// stagingBytes is the ring, what is read between bundles, and the buffers for
// matrix blocks and for rows.
func (p *planner) stagingBytes() int64 {
	return memory.BufferBytes(int64(p.RingSlots)*p.RingBytes) + memory.BufferBytes(disk.GapBytes(p.in.Layout.BundleStride())) +
		int64(p.BlockSlots+1)*memory.BufferBytes(p.BlockBytes)
}

// place gives out the room that the budget leaves.
func (p *planner) place() error {
	p.totals()
	asked := p.askedSlots()
	p.budgets(asked)
	need := p.vectors + p.predictorBytes + p.units.slots(max(0, asked))
	room := p.room(need) - need
	p.KVBytes = p.kvBytes(p.Chunk)
	p.Fits = room >= 0
	p.Resident = make(map[string]bool, len(p.matrices)+len(p.rowTables))
	p.readAhead(&room)
	p.Streamed = p.residents(p.matrices, &room)
	p.streams()
	slots, more := asked, int64(0)
	if slots < 0 {
		slots = int(min(max(0, room)/max(1, p.units.bytes), int64(p.units.number)))
		room -= p.units.slots(slots)
		more, room = room, 0
	}
	p.Slots = p.deal(slots, &more)
	room += more
	p.slotBytes = p.units.bytesOf(p.Slots)
	p.residents(p.rowTables, &room)
	p.LoadBytes = p.vectors + p.residentBytes + p.predictorBytes
	p.MemoryBytes = p.takenBytes(p.Chunk) + p.LoadBytes - p.heapBytes + p.slotBytes
	if n := p.in.RingSlots; n > p.RingSlots {
		p.MemoryBytes += int64(n-p.RingSlots) * p.RingBytes
		p.RingSlots = n
	}
	p.noticeKV()
	if !p.Fits {
		return p.tooSmall(asked, need)
	}
	if free := p.in.FreeBytes; free > 0 && p.Process.BudgetBytes > free {
		p.notice("the budget comes to %s for the process, more than the %s that are free: the system may end it", config.FormatSize(p.Process.BudgetBytes), config.FormatSize(free))
	}
	return nil
}

// residents makes matrices resident while there is room, and returns how many
// are not.
func (p *planner) residents(ts []pack.Tensor, room *int64) (streamed int) {
	for _, t := range ts {
		n := memory.PieceBytes(t.Bytes())
		if *room < n {
			streamed++
			continue
		}
		*room -= n
		p.residentBytes += n
		p.Resident[t.Name] = true
	}
	return streamed
}

// streams says which layers stream.
func (p *planner) streams() {
	p.Streams = make([]bool, p.profile.Layers)
	for _, x := range p.matrices {
		if l := layerOf(x); l >= 0 && !p.Resident[x.Name] {
			p.Streams[l] = true
		}
	}
	if p.Streamed > 0 && p.Fits {
		p.notice("%d of %d matrices do not fit and stream for every token: they are of %d of %d layers", p.Streamed, len(p.matrices), streaming(p.Streams), p.profile.Layers)
		if p.experts() {
			p.notice("this is slow, since every token needs them beside its experts: a budget of %s holds them all", config.FormatSize(p.withMatrices()))
		}
	}
}

// withMatrices is about the least budget of the process in which no matrix streams.
func (p *planner) withMatrices() int64 {
	n := p.fixedBytes(p.Chunk) + p.Share.MinimumBytes
	for _, x := range p.matrices {
		n += memory.PieceBytes(x.Bytes())
	}
	return withPageTables(n)
}

// noticeKV says what to change where the KV cache, not the weights, takes much
// of a budget of bytes.
func (p *planner) noticeKV() {
	if b := p.in.Strategy.Budget.Bytes; b == 0 || p.KVBytes <= b/3 {
		return
	}
	how := fmt.Sprintf("lower --ctx, which is %d", p.Context)
	if p.in.Strategy.KV == tensor.F32 {
		how += ", or use --kv f16"
	} else if p.in.Strategy.KV == tensor.F16 && p.profile.HeadDim()%tensor.QuantBlock == 0 {
		how += ", or use --kv q8_0"
	}
	p.notice("the KV cache takes %s of the budget of %s: %s", config.FormatSize(p.KVBytes), config.FormatSize(p.in.Strategy.Budget.Bytes), how)
}

func (p *planner) notice(format string, args ...any) {
	p.Notices = append(p.Notices, fmt.Sprintf(format, args...))
}
