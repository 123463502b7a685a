package placement

import (
	"fmt"
	"math"

	"github.com/sparseflow/sparseflow/internal/config"
	"github.com/sparseflow/sparseflow/internal/memory"
)

// BudgetError says that a budget is too small.
type BudgetError struct {
	What    string // what is too small, and for what
	Got     string
	Minimum string
	Advice  string // what to do
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("placement: %s: got %s, want at least %s; %s", e.What, e.Got, e.Minimum, e.Advice)
}

// FlagError says that a setting does not suit the model.
type FlagError struct{ message string }

func (e *FlagError) Error() string { return "placement: " + e.message }

func flagErrorf(format string, args ...any) error { return &FlagError{fmt.Sprintf(format, args...)} }

// chunks are the numbers of tokens that a prompt may be computed in at a
// time. The first is what the smallest budget is made of. The last are for experts,
// nearly all of which a chunk wants, of some tokens each.
var chunks = [...]int{16, 32, 64, 128, 256, 512, 1024, 2048}

const (
	leastChunk = 0
	// mostDenseChunk is the largest chunk of models without experts.
	mostDenseChunk = 512
	// chunkShare is the share of a budget, as its inverse, that activations
	// may take: beyond it they cost more slots than they save. A larger chunk
	// reads less often what streams.
	chunkShare = 8
)

// mostChunk is the largest chunk of use: the first that holds the longest
// sequence, if any does.
func (p *planner) mostChunk() int {
	for _, c := range chunks {
		if c >= p.Context || c == mostDenseChunk && !p.experts() {
			return c
		}
	}
	return chunks[len(chunks)-1]
}

// totals sets what does not depend on the budget.
func (p *planner) totals() {
	p.Share.TotalBytes = p.in.Layout.WeightBytes()
	p.Share.MinimumBytes = p.vectors + p.predictorBytes
	p.Process.MinimumBytes = withPageTables(p.fixedBytes(chunks[leastChunk]) + p.Share.MinimumBytes)
	p.Process.TotalBytes = p.everything(p.units.number)
}

// everything is the process with all resident but the units, of which slots
// per layer are.
func (p *planner) everything(slots int) int64 {
	return withPageTables(p.fixedBytes(p.mostChunk()) + p.allWeights(slots))
}

// allWeights is its weights.
func (p *planner) allWeights(slots int) int64 {
	return p.Share.MinimumBytes + p.matrixB + p.units.slots(slots)
}

// withPageTables is the least budget that has n bytes beside its page tables.
func withPageTables(n int64) int64 { return n + max(0, n-1)/511 }

// askedSlots is the slots per layer that were asked for, -1 if they are to be
// as many as fit.
func (p *planner) askedSlots() int {
	r := p.in.Strategy.GPUCacheRatio
	if r == nil {
		return -1
	}
	return int(math.Round(*r * float64(p.units.number)))
}

// budgets sets the budget in the meaning that it was given in.
func (p *planner) budgets(asked int) {
	switch b := p.in.Strategy.Budget; {
	case b.Share >= 1:
		p.Share.BudgetBytes = p.allWeights(p.units.number)
		if b.Share > 1 {
			p.notice("a budget of %v is taken as 100%%, which is everything", b)
		}
	case b.Share > 0:
		p.Share.BudgetBytes = int64(b.Share * float64(p.Share.TotalBytes))
	case b.Bytes > 0:
		p.Process.BudgetBytes = b.Bytes
	case asked >= 0:
		p.Process.BudgetBytes = p.everything(asked)
	default:
		// The part of 80 % of free memory that the whole model would use.
		p.Process.BudgetBytes = p.Process.TotalBytes
		if p.in.FreeBytes > 0 {
			p.Process.BudgetBytes = min(p.Process.TotalBytes, p.in.FreeBytes/5*4)
		}
	}
}

// room is what the budget leaves for weights, of which need must fit. It
// chooses the chunk, and sets the budget in the other meaning.
func (p *planner) room(need int64) int64 {
	if p.in.Strategy.Budget.Share > 0 {
		p.Chunk = p.mostChunk()
		p.Process.BudgetBytes = withPageTables(p.Share.BudgetBytes + p.fixedBytes(p.Chunk))
		return p.Share.BudgetBytes
	}
	budget := p.Process.BudgetBytes - memory.PageTables(p.Process.BudgetBytes)
	p.Chunk = chunks[leastChunk]
	room := budget - p.fixedBytes(p.Chunk)
	for _, next := range chunks[leastChunk+1:] {
		if next > p.mostChunk() {
			break
		}
		// Where the larger chunk begins to be worth its memory, the room
		// stands still until the budget has grown by what the chunk takes:
		// so a larger budget never leaves less room.
		enough := max(need, chunkShare*(p.in.ScratchBytes(next)+p.backendBytes(next))-p.fixedBytes(p.Chunk))
		left := budget - p.fixedBytes(next)
		if left < enough {
			room = min(room, enough)
			break
		}
		p.Chunk, room = next, left
	}
	p.Share.BudgetBytes = max(0, room)
	return room
}

// tooSmall is the error of a budget that does not hold the bytes of weights
// needed.
func (p *planner) tooSmall(asked int, need int64) error {
	e := &BudgetError{What: "budget", Advice: "raise --budget"}
	b := p.in.Strategy.Budget
	if b.Share > 0 {
		e.Got = fmt.Sprintf("%v (%s of weights)", b, sizeOf(p.Share.BudgetBytes))
		e.Minimum = fmt.Sprintf("%s (%s)", percent(need, p.Share.TotalBytes), sizeOf(need))
	} else {
		e.Got = sizeOf(p.Process.BudgetBytes)
		e.Minimum = sizeOf(withPageTables(p.fixedBytes(chunks[leastChunk]) + need))
		e.Advice += " or lower --ctx"
	}
	if b.IsZero() {
		e.Got += ", 80 % of free memory"
		e.Advice = "free memory or lower --ctx"
	}
	if p.predictorBytes > 0 {
		e.Advice += fmt.Sprintf(", or use --mode gate, which saves the predictors' %s", config.FormatSize(p.predictorBytes))
	}
	if asked > 0 {
		e.What = fmt.Sprintf("budget for a gpu-cache-ratio of %v", *p.in.Strategy.GPUCacheRatio)
		e.Advice += " or --gpu-cache-ratio"
		if b.Share > 0 {
			e.Advice = "raise --budget or lower --gpu-cache-ratio"
		}
	}
	return e
}

// percent is a share of total above n, in thousandths of a percent.
func percent(n, total int64) string {
	return fmt.Sprintf("%.3f%%", float64(int64(float64(n)*1e5/float64(total))+1)/1e3)
}

func sizeOf(n int64) string { return fmt.Sprintf("%s (%d bytes)", config.FormatSize(n), n) }
