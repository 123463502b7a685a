package engine

import (
	"slices"

	"github.com/sparseflow/sparseflow/internal/kv"
)

// kept is the newest text that ended, with its keys and values: a conversation
// goes on with the text so far, of which only what is new is computed then. Its
// pages are free to whoever needs them.
type kept struct {
	ids []int32
	seq kv.Seq
}

// keep holds on to what was computed of s, which has ended, in place of what was
// kept before.
func (l *loop) keep(s *sequence) {
	if s.computed == 0 || !l.keepText || !s.req.onlyText() {
		l.model.KV.Release(&s.seq)
		return
	}
	l.model.KV.Release(&l.kept.seq)
	n := l.model.KV.Truncate(&s.seq, s.computed)
	l.kept = kept{slices.Clone(s.ids[:n]), s.seq}
	s.seq = kv.Seq{}
}

// reuse has s begin with what is kept of its prompt. The prompt's last token is
// always computed: what follows from it is wanted.
func (l *loop) reuse(s *sequence) {
	n := 0
	for most := min(len(l.kept.ids), s.prompt-1); n < most && s.ids[n] == l.kept.ids[n]; n++ {
	}
	if n == 0 || !s.req.onlyText() {
		return
	}
	n = l.model.KV.Truncate(&l.kept.seq, n) // none where a window has moved on
	s.seq, s.computed, s.reused = l.kept.seq, n, n
	l.kept = kept{}
}

// makeRoom gives the pages of what is kept back where those that run could come
// to need them.
func (l *loop) makeRoom() {
	need := l.pages(len(l.kept.ids))
	for _, s := range l.running {
		need += l.pages(s.most)
	}
	if need > l.pages(l.place.Context) {
		l.model.KV.Release(&l.kept.seq)
		l.kept = kept{}
	}
}

// onlyText reports whether nothing but the text after the prompt is wanted.
func (r Request) onlyText() bool {
	return r.Logits == nil && r.Final == nil && r.Compare == nil && r.Audit == nil && !r.Exact
}
