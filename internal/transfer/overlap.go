package transfer

// overlap runs chores while other threads compute, in the order in which they
// are added, all on the goroutine of the coordinator.
type overlap struct {
	begin  func(func()) // has a function run by the next operation; nil: at once
	chores []func()
	all    func() // finish, as a value made once
}

// add has f run soon: by the next operation, or when finish is called. No f
// adds another.
func (o *overlap) add(f func()) {
	switch o.chores = append(o.chores, f); {
	case o.begin == nil:
		o.finish()
	case len(o.chores) == 1:
		o.begin(o.all)
	}
}

// finish runs at once what has not run yet.
func (o *overlap) finish() {
	for _, f := range o.chores {
		f()
	}
	o.chores = o.chores[:0]
}
