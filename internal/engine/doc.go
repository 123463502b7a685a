// Package engine runs requests on a model: it wires the parts together by a
// placement (load.go) and computes step after step (step.go).
//
// A step is: schedule, compute, post-process. Package sched picks a part of one
// sequence's prompt or the newest token of every sequence; model.Forward computes
// it; what comes after (post.go) samples, hands tokens out and ends sequences.
// One goroutine, the loop's, does all of it, so that nothing below needs a lock;
// Run may be called from any number of goroutines, whose requests share the steps.
//
// A request's result depends on the model, its sidecar, the options that name a
// computation and the request alone: not on the others in its steps, on what ran
// before, or on the budget. Nothing that is measured decides what is computed.
// If reading fails, the requests of that step fail and the engine goes on.
package engine
