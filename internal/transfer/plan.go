package transfer

// NeuronTransferPlan is what to read for one layer, a run by one read: neurons
// that lie next to each other in the pack, or so near that what lies between
// is cheaper to read than to leave out.
type NeuronTransferPlan struct {
	Layer int
	Runs  []Run

	slots []int32 // of the runs, one after the other
}

// Run is the neurons First, First+1, ... and their slots, -1 for those that
// nobody asked for. The first and the last have one.
type Run struct {
	First int32
	Slots []int32
}

// maxRun is the most neurons of one run of several that are read at a time.
// Longer ones would not be faster, and shorter ones keep the disk busier.
const maxRun = 32

// make plans to read the neurons ids[i], ascending, into slots[i], for the
// indices i in which, ascending, in the memory of an earlier plan. joins says
// whether two runs are read together, given their neurons and those between
// them; those without any between them are. No run is longer than most.
func (p *NeuronTransferPlan) make(layer int, ids, slots, which []int32, most int, joins func(run, gap, next int) bool) {
	p.Layer, p.Runs = layer, p.Runs[:0]
	all, start := p.slots[:0], 0 // where the last run's begin
	for _, i := range which {
		if last := len(p.Runs) - 1; last >= 0 {
			run := &p.Runs[last]
			n := len(run.Slots)
			gap := int(ids[i]-run.First) - n
			if n+gap < most && (gap == 0 || joins(n, gap, 1)) {
				for range gap {
					all = append(all, -1)
				}
				all = append(all, slots[i])
				run.Slots = all[start:]
				continue
			}
		}
		start = len(all)
		all = append(all, slots[i])
		p.Runs = append(p.Runs, Run{First: ids[i], Slots: all[start:]})
	}
	p.slots = all
}

// Neurons is the number of neurons that the plan reads for somebody.
func (p *NeuronTransferPlan) Neurons() int {
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
