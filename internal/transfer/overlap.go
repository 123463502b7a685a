package transfer

// overlap runs chores while other threads compute, in the order in which they
// are added, all on the goroutine of the coordinator.
type overlap struct {
	// run has a function run by the next operation; see device.Backend.
	run    func(func())
	chores []func()
	all    func() // finish, as a value made once
}

func newOverlap(run func(func())) *overlap {
	if run == nil {
		run = func(f func()) { f() }
	}
	o := &overlap{run: run}
	o.all = o.finish
	return o
}

// add has f run soon: by the next operation, or when finish is called. No f
// adds another.
func (o *overlap) add(f func()) {
	o.chores = append(o.chores, f)
	if len(o.chores) == 1 {
		o.run(o.all)
	}
}

// finish runs at once what has not run yet.
func (o *overlap) finish() {
	for _, f := range o.chores {
		f()
	}
	o.chores = o.chores[:0]
}
