package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progressAfter is how long work goes on before it gets a bar: what is faster
// would only flicker.
const progressAfter = 300 * time.Millisecond

// barWidth lets a line end short of 80 columns, with room for the ^C that a
// terminal puts there: a line that wraps could not be taken away again.
const barWidth = 16

// progress shows long work as a bar on standard error while it lasts, and
// nothing where that is not a terminal.
type progress struct {
	to       io.Writer
	terminal bool
	what     atomic.Pointer[string] // apart from the lock, which hiding a bar holds

	mu    sync.Mutex
	bars  *mpb.Progress // nil: nothing is shown
	bar   *mpb.Bar
	total int64
	began time.Time
	said  int // columns of what say shows
}

func (a *app) newProgress() *progress {
	return &progress{to: a.stderr, terminal: isTerminal(a.stderr)}
}

// report is told of work: what it is, and how much is done out of a total, in
// the unit of the work. Another total is other work; when all is done the bar
// goes.
func (p *progress) report(what string, done, total int64) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if total != p.total {
		p.hide()
		p.total, p.began = total, time.Now()
	}
	p.what.Store(&what)
	if p.bars == nil && done < total && time.Since(p.began) > progressAfter {
		p.show()
	}
	switch {
	case done >= total:
		p.hide()
	case p.bar != nil:
		p.bar.SetCurrent(done)
	}
}

// say shows what is being done, in the place of a bar.
func (p *progress) say(what string) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide()
	fmt.Fprint(p.to, "\r", what)
	p.said = utf8.RuneCountInString(what)
}

// counters shows how much of a kind of work is done: of a model's files bytes,
// else what the work is counted in.
func counters(what string) decor.Decorator {
	unit := ""
	switch word, _, _ := strings.Cut(what, " "); word {
	case "running", "evaluating":
		unit = "tokens"
	case "fitting", "training":
		unit = "layers"
	case "measuring":
		unit = "passes"
	default:
		return decor.Counters(decor.SizeB1000(0), "  % .1f of % .1f")
	}
	return decor.CountersNoUnit("  %d of %d " + unit)
}

// show starts a bar. The caller holds the lock. The time that is left follows
// from what is done, which of layers is those that are finished.
func (p *progress) show() {
	p.bars = mpb.New(mpb.WithOutput(p.to), mpb.WithWidth(barWidth))
	p.bar = p.bars.AddBar(p.total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return *p.what.Load() }, decor.WC{C: decor.DindentRight, W: 24})),
		mpb.AppendDecorators(
			decor.Percentage(decor.WC{W: 5}),
			counters(*p.what.Load()),
			decor.Name("  "),
			decor.AverageETA(decor.ET_STYLE_GO),
			decor.Name(" left"),
		))
	p.bar.DecoratorAverageAdjust(p.began)
}

// hide takes away what is shown. The caller holds the lock.
func (p *progress) hide() {
	if p.said > 0 {
		fmt.Fprintf(p.to, "\r%*s\r", p.said, "")
		p.said = 0
	}
	if p.bars == nil {
		return
	}
	fmt.Fprint(p.to, "\r") // from behind a ^C
	p.bar.Abort(true)
	p.bars.Wait()
	p.bars, p.bar = nil, nil
}

// note prints what a person may want to know, above the bar if there is one.
func (p *progress) note(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide()
	fmt.Fprintln(p.to, "note:", plain(message))
}

// close takes away what is shown.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide()
}
