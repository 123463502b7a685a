package transfer

import "slices"

// NeuronTransferPlan is what to read for one layer: runs of neurons that lie
// next to each other in the pack, each neuron with the slot it goes to.
type NeuronTransferPlan struct {
	Layer int
	Runs  []Run
}

// Run is the neurons First, First+1, ... and their slots.
type Run struct {
	First int32
	Slots []int32
}

// maxRun is the most neurons of one run. Longer runs would not be faster, and
// shorter ones are spread over several reads at a time.
const maxRun = 32

// newPlan plans to read the neurons ids[i], ascending, into slots[i], for the
// indices i in which, ascending.
func newPlan(layer int, ids, slots, which []int32) NeuronTransferPlan {
	p := NeuronTransferPlan{Layer: layer}
	buf := make([]int32, len(which)) // the runs' slots, one after the other
	for n, i := range which {
		buf[n] = slots[i]
		if r := len(p.Runs) - 1; r >= 0 {
			run := &p.Runs[r]
			if ids[i] == run.First+int32(len(run.Slots)) && len(run.Slots) < maxRun {
				run.Slots = buf[n-len(run.Slots) : n+1]
				continue
			}
		}
		p.Runs = append(p.Runs, Run{First: ids[i], Slots: buf[n : n+1]})
	}
	return p
}

// joined is the plan with runs of any length: a synchronous transfer has no
// other reads to spread them over, and one long read is the fastest.
func (p NeuronTransferPlan) joined() NeuronTransferPlan {
	j := NeuronTransferPlan{Layer: p.Layer}
	for _, run := range p.Runs {
		if last := len(j.Runs) - 1; last >= 0 && j.Runs[last].First+int32(len(j.Runs[last].Slots)) == run.First {
			j.Runs[last].Slots = append(j.Runs[last].Slots, run.Slots...)
			continue
		}
		run.Slots = slices.Clip(run.Slots) // appending copies
		j.Runs = append(j.Runs, run)
	}
	return j
}

// Neurons is the number of neurons that the plan reads.
func (p NeuronTransferPlan) Neurons() int {
	n := 0
	for _, r := range p.Runs {
		n += len(r.Slots)
	}
	return n
}
