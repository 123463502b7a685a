package bench

// A bound is the time that a row's bytes take at least: what a token multiplies
// comes from memory, and units that were not there come from the disk
// meanwhile, and so do matrices that stream, in order. The longer of the two is the bound, for an engine that overlaps them
// and computes in no time. Unlike the limit by loading the same bytes, it counts what
// is missed, so it is what a budget allows with this cache.

// bound sets a row of decoding beside the bound by the rates measured before it and
// after. Other work on the machine slows either measurement: the faster one counts.
func (r *Row) bound(before, after *Limits) {
	r.BoundMemoryGBs = max(before.MemoryGBs, after.MemoryGBs)
	r.BoundDiskGBs = max(before.RandomGBs, after.RandomGBs)
	if r.Test.Prompt {
		return
	}
	inOrder := max(before.SequentialGBs, after.SequentialGBs)
	disk := ratio(float64(r.MissedBytes)/1e9, r.BoundDiskGBs) + ratio(float64(r.Streamed)/1e9, inOrder)
	seconds := max(ratio(float64(r.FastBytes)/1e9, r.BoundMemoryGBs), disk)
	r.BoundTokS = ratio(1, seconds)
	r.ShareOfBound = r.TokS * seconds
}
