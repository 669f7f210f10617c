package holdmodel

import (
	"errors"

	"countersign/internal/hold"
	"countersign/providers"
)

// ref names a process.
type ref struct{ kind, i, d uint8 }

const (
	anExchange uint8 = iota
	aRunner
	aClock
	anOperator
	thePhone
	theWorld
)

func (s *state) proc(r ref) *proc {
	switch r.kind {
	case anExchange:
		return &s.x[r.i]
	case aRunner:
		return &s.run[r.i][r.d]
	case aClock:
		return &s.clock[r.i]
	default:
		return &s.op
	}
}

// conclude is one step of ending a hold, as Desk.conclude does it: load, step and journal; then load, step at the moment
// that the journal names, and store, until the ledger takes it.
func (m *model) conclude(s *state, r ref) {
	p := s.proc(r)
	switch {
	case p.is(ready):
		m.concludeStore(s, r)
	case p.is(recorded):
		m.concludeAgain(s, r)
	default:
		m.concludeFirst(s, r)
	}
}

func (m *model) concludeFirst(s *state, r ref) {
	p := s.proc(r)
	key := m.key[p.hold]
	doc := s.doc[key]
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		m.giveUp(&n, p.hold, p.desk)
		m.concluded(&n, r, hold.ErrLedger)
		m.emit(r, "cannot load the hold, and gives up", &n)
	}
	if m.rec(doc).hold != p.hold || doc == 0 {
		n := *s
		m.giveUp(&n, p.hold, p.desk)
		m.concluded(&n, r, hold.ErrNotFound)
		m.emit(r, "finds another hold in its place", &n)
		return
	}
	next, err := m.step(doc, m.ending(s, p), s.now)
	if err != nil {
		n := *s
		m.concluded(&n, r, err)
		m.emit(r, "finds the hold ended otherwise", &n)
		return
	}
	if s.left[unrecorded] > 0 {
		n := m.fail(s, unrecorded)
		if m.rec(doc).rec.State == hold.Pending {
			m.giveUp(&n, p.hold, p.desk)
			n.proc(r).end = notRecorded
			n.proc(r).set(recorded)
		} else {
			m.concluded(&n, r, hold.ErrJournal)
		}
		m.emit(r, "cannot record the hold's end", &n)
	}
	n := *s
	q := n.proc(r)
	q.at = n.now
	q.loaded(q.pc, next)
	q.set(recorded | ready)
	if m.c.Bugs&SettleNotRecorded == 0 {
		n.hold[p.hold].journal |= 1 << m.rec(next).rec.State
	}
	m.emit(r, "loads the hold and records its end", &n)
}

func (m *model) concludeAgain(s *state, r ref) {
	p := s.proc(r)
	doc := s.doc[m.key[p.hold]]
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		m.giveUp(&n, p.hold, p.desk)
		m.concluded(&n, r, hold.ErrLedger)
		m.emit(r, "cannot load the hold again, and gives up", &n)
	}
	n := *s
	at := p.at
	if p.end == notRecorded {
		at = s.now
	}
	next, err := m.step(doc, m.ending(s, p), at)
	if doc == 0 || m.rec(doc).hold != p.hold || err != nil {
		m.concluded(&n, r, hold.ErrTransition)
		m.emit(r, "loads the hold again and finds it ended otherwise", &n)
		return
	}
	n.proc(r).loaded(p.pc, next)
	n.proc(r).set(ready)
	m.emit(r, "loads the hold again", &n)
}

func (m *model) concludeStore(s *state, r ref) {
	p := s.proc(r)
	key, next := m.key[p.hold], p.next
	var err error
	if p.end == notRecorded {
		err = hold.ErrJournal // that is what the conclusion came to
	}
	m.store(s, r, key, true, func(n *state) {
		m.put(n, key, next, r)
		m.concluded(n, r, err)
	}, func(n *state) {
		n.proc(r).to(p.pc)
		n.proc(r).clear(ready)
	}, func(n *state) {
		m.giveUp(n, p.hold, p.desk)
		m.concluded(n, r, hold.ErrLedger)
	})
}

// store is a compare-and-set of what r loaded: done, or again from the load. When the ledger fails the process may give up,
// whether or not it happened, or, where it insists, find out by loading again.
func (m *model) store(s *state, r ref, key uint8, insists bool, done, again, giveUp func(*state)) {
	ok := s.proc(r).is(fresh) || m.c.Bugs&StoreWithoutRevision != 0
	next := s.proc(r).next
	n := *s
	if ok {
		done(&n)
		m.emit(r, "stores", &n)
	} else {
		again(&n)
		m.emit(r, "stores, and is stale", &n)
	}
	if s.left[failures] == 0 {
		return
	}
	n = m.fail(s, failures)
	giveUp(&n)
	m.emit(r, "stores, which fails; gives up", &n)
	if !ok {
		return
	}
	n = m.fail(s, failures)
	m.put(&n, key, next, r)
	giveUp(&n)
	m.emit(r, "stores, which happens and seems to fail; gives up", &n)
	if !insists {
		return
	}
	n = m.fail(s, failures)
	m.put(&n, key, next, r)
	again(&n)
	m.emit(r, "stores, which happens and seems to fail; looks again", &n)
}

// fail returns s with one trouble less to come.
func (m *model) fail(s *state, which int) state {
	n := *s
	n.left[which]--
	n.excused = 1
	return n
}

// ending is the event that a conclusion wants.
func (m *model) ending(s *state, p *proc) event {
	switch p.end {
	case byOutcome:
		return event{kind: hold.EventSettled, verdict: p.verdict, at: s.hold[p.hold].at}
	case byUnknown:
		return event{kind: hold.EventSettled, verdict: uint8(providers.Unavailable)}
	case byTime:
		return event{kind: hold.EventTimedOut}
	case byAbsence:
		return event{kind: hold.EventAbandoned}
	case byLapse:
		return event{kind: hold.EventExpired}
	case byOperator:
		return event{kind: hold.EventWithdrawn}
	default:
		return event{kind: hold.EventFaulted, end: p.end}
	}
}

// concluded goes on after a conclusion, with what Desk.conclude returned.
func (m *model) concluded(n *state, r ref, err error) {
	p := n.proc(r)
	p.clear(recorded | ready)
	fine := err == nil || errors.Is(err, hold.ErrTransition)
	switch {
	case r.kind == aRunner:
		p.over(rNone)
	case r.kind != anExchange:
		p.over(cIdle)
	case p.pc == xConclude && fine:
		p.to(xAttach)
		p.hold, p.end, p.at = 0, 0, 0
	case p.pc == xConclude:
		p.over(xGone)
	case p.pc == xOverdue && fine:
		p.to(xWait)
		p.end, p.at = 0, 0
	default:
		m.leave(n, r.i, false, true)
	}
}

// giveUp is Desk.fail: this desk can say nothing more of the hold. Who waits for it here is told so, and it runs no more.
func (m *model) giveUp(n *state, h, d uint8) {
	n.hold[h].runs &^= 1 << d
	for i := range n.x {
		if p := &n.x[i]; p.pc == xWait && p.hold == h && p.desk == d {
			m.leave(n, uint8(i), false, true)
		}
	}
	if p := &n.run[h][d]; p.pc > rNone && p.pc < rRelease {
		p.set(cut)
	}
}
