package transfer

// NeuronTransferPlan is what to read for one layer, a run by one read: neurons
// that lie next to each other in the pack, or so near that what lies between
// is cheaper to read than to leave out.
type NeuronTransferPlan struct {
	Layer int
	Runs  []Run
}

// Run is the neurons First, First+1, ... and their slots, -1 for those that
// nobody asked for. The first and the last have one.
type Run struct {
	First int32
	Slots []int32
}

// maxRun is the most neurons of one run. Longer runs would not be faster, and
// shorter ones are spread over several reads at a time.
const maxRun = 32

// newPlan plans to read the neurons ids[i], ascending, into slots[i], for the
// indices i in which, ascending. joins says whether two runs are read together,
// given their neurons and those between them.
func newPlan(layer int, ids, slots, which []int32, joins func(run, gap, next int) bool) NeuronTransferPlan {
	p := NeuronTransferPlan{Layer: layer}
	buf, start := make([]int32, 0, len(which)), 0 // the runs' slots; where the last one's begin
	for _, i := range which {
		if last := len(p.Runs) - 1; last >= 0 {
			run := &p.Runs[last]
			n := len(run.Slots)
			gap := int(ids[i]-run.First) - n
			if n+gap < maxRun && (gap == 0 || joins(n, gap, 1)) {
				for range gap {
					buf = append(buf, -1)
				}
				buf = append(buf, slots[i])
				run.Slots = buf[start:]
				continue
			}
		}
		start = len(buf)
		buf = append(buf, slots[i])
		p.Runs = append(p.Runs, Run{First: ids[i], Slots: buf[start:]})
	}
	return p
}

// Neurons is the number of neurons that the plan reads for somebody.
func (p NeuronTransferPlan) Neurons() int {
	n := 0
	for _, r := range p.Runs {
		for _, s := range r.Slots {
			if s >= 0 {
				n++
			}
		}
	}
	return n
}
