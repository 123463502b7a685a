// Package shortsleep sleeps for some microseconds.
//
// A goroutine that waits for another, or by time.Sleep, gives its processor up,
// and has to be put on one again. Go wakes a thread of the system for that, and
// the system may let it wait on a processor that computes though another is idle:
// Linux can take an idle processor of a virtual machine for one that the host
// has taken away, and finds out at the next tick, milliseconds later.
//
// On Linux For keeps the processor of the system and that of the scheduler. So
// it is for waits that are about to end, a tenth of a millisecond at a time: the
// collector and other goroutines wait meanwhile.
package shortsleep
