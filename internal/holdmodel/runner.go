package holdmodel

import (
	"slices"
	"time"

	"countersign/internal/hold"
	"countersign/providers"
)

// runner is the next step of the goroutine that runs hold h at desk d: Desk.run.
func (m *model) runner(s *state, h, d uint8) {
	r := ref{aRunner, h, d}
	p := &s.run[h][d]
	switch p.pc {
	case rQueue:
		m.queue(s, r)
	case rClaim:
		m.claim(s, r)
	case rStart:
		m.start(s, r)
	case rAsk:
		m.ask(s, r)
	case rAsked:
		m.asked(s, r)
	case rWait:
		m.await(s, r)
	case rTakeBack:
		m.takeBack(s, r)
	case rRelease:
		m.giveBack(s, r)
	case rEnd:
		m.conclude(s, r)
	}
}

// adopted starts the runner of a hold whose owner is gone.
func (m *model) adopted(n *state, h, d uint8) {
	n.hold[h].runs |= 1 << d
	p := &n.run[h][d]
	*p = proc{pc: rWait, desk: d, hold: h, flags: adopts | claimed | asked}
	switch {
	case m.rec(n.doc[m.key[h]]).rec.Transaction != "":
	case m.c.Bugs&AdoptedStartsAgain != 0:
		p.pc = rStart
	default:
		m.finish(n, p, byLoss)
	}
}

// interrupted reports whether the desk may have learnt that there is nothing to run any more.
func (m *model) interrupted(s *state, p *proc) bool {
	doc := s.doc[m.key[p.hold]]
	k := m.rec(doc)
	return p.is(cut) || doc != 0 && (k.hold != p.hold || k.rec.State != hold.Pending)
}

// queue waits for the person's turn on this desk, and for the person's one pending push, and loads their document.
func (m *model) queue(s *state, r ref) {
	p := &s.run[r.i][r.d]
	if m.interrupted(s, p) {
		n := *s
		n.run[r.i][r.d].over(rNone)
		m.emit(r, "learns that the hold is over", &n)
	}
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		n.run[r.i][r.d].set(claimed)
		m.finish(&n, &n.run[r.i][r.d], byLedger)
		m.emit(r, "cannot load the person, and gives up", &n)
	}
	who := m.who[r.i]
	for j := range s.run {
		if uint8(j) != r.i && m.who[j] == who && s.run[j][r.d].holdsTurn() {
			return
		}
	}
	doc := &s.person[who]
	switch pending := doc.holder != 0 && s.now < doc.until; {
	case pending && doc.holder == 1+r.i:
		n := *s
		n.run[r.i][r.d].to(rStart)
		n.run[r.i][r.d].set(claimed)
		m.emit(r, "finds that the person's push is its own", &n)
	case pending, s.now < doc.next:
		return
	default:
		n := *s
		n.run[r.i][r.d].loaded(rClaim, 0)
		m.emit(r, "finds that the person may be pushed", &n)
	}
}

func (m *model) claim(s *state, r ref) {
	p := &s.run[r.i][r.d]
	take := func(n *state) {
		doc := &n.person[m.who[r.i]]
		doc.holder, doc.until, doc.open = 1+r.i, m.first(m.expires(n, r.i).Add(m.pending())), doc.open|1<<r.i
		m.personStored(n, m.who[r.i])
	}
	n := *s
	q := &n.run[r.i][r.d]
	ok := p.is(fresh) || m.c.Bugs&ClaimWithoutRevision != 0
	if !ok {
		q.to(rQueue)
		m.emit(r, "stores the person, and is stale", &n)
	} else {
		take(&n)
		q.to(rStart)
		q.set(claimed)
		m.emit(r, "takes the person's push", &n)
	}
	if s.left[failures] == 0 {
		return
	}
	n = m.fail(s, failures)
	q.set(claimed)
	m.finish(&n, q, byLedger)
	m.emit(r, "stores the person, which fails; gives up", &n)
	if !ok {
		return
	}
	n = m.fail(s, failures)
	take(&n)
	q.set(claimed)
	m.finish(&n, q, byLedger)
	m.emit(r, "stores the person, which happens and seems to fail; gives up", &n)
	n = m.fail(s, failures)
	take(&n)
	q.to(rQueue)
	m.emit(r, "stores the person, which happens and seems to fail; looks again", &n)
}

// start asks the provider to ask. It is the one step with an effect on the person.
func (m *model) start(s *state, r ref) {
	p := &s.run[r.i][r.d]
	if m.interrupted(s, p) {
		n := *s
		m.finish(&n, &n.run[r.i][r.d], byNothing)
		m.emit(r, "learns that the hold is over", &n)
	}
	if !m.time(s.now).Before(m.expires(s, r.i)) && m.c.Bugs&PushAfterEnd == 0 {
		n := *s
		m.finish(&n, &n.run[r.i][r.d], byNothing)
		m.emit(r, "leaves the hold to its clock", &n)
		return
	}
	ring := func(n *state) {
		h := &n.hold[r.i]
		h.shows, h.until, h.starts = ringing, m.first(m.time(n.now).Add(ringTime)), h.starts+1
	}
	n := *s
	ring(&n)
	q := &n.run[r.i][r.d]
	q.to(rAsk)
	q.set(asked)
	m.started(&n, r.i)
	m.emit(r, "PUSHES to the person's phone", &n)
	for _, v := range m.c.Verdicts {
		if v != providers.NotEnrolled && v != providers.LockedOut {
			continue
		}
		n = *s
		q.end, q.verdict = byOutcome, uint8(v)
		n.hold[r.i].at = n.now
		m.finish(&n, q, byOutcome)
		m.emit(r, "is told that nobody can be asked", &n)
	}
	if s.left[unknown] == 0 {
		return
	}
	for _, happened := range []bool{true, false} {
		n = m.fail(s, unknown)
		n.excused = s.excused
		if happened {
			ring(&n)
		}
		q.set(asked)
		m.finish(&n, q, byUnknown)
		if m.c.Bugs&StartAgain != 0 {
			n.run[r.i][r.d] = *p
		}
		if happened {
			m.started(&n, r.i)
		}
		m.emit(r, "cannot tell whether the provider pushed", &n)
	}
}

func (m *model) started(n *state, h uint8) {
	switch {
	case n.hold[h].starts > 1:
		m.bad("I10: a start is repeated")
	case !m.time(n.now).Before(m.expires(n, h)):
		m.bad("I10: a person is asked about a hold whose time is over")
	case n.hold[h].facts&inJournal == 0:
		m.bad("I9: a person is asked about a hold that the journal does not have")
	}
}

// expires is when a hold gives up.
func (m *model) expires(n *state, h uint8) time.Time {
	return m.time(n.hold[h].opened).Add(m.c.Timeout)
}

// ask records that the person was asked, and loads the hold to say so.
func (m *model) ask(s *state, r ref) {
	if s.left[unrecorded] > 0 {
		n := m.fail(s, unrecorded)
		m.finish(&n, &n.run[r.i][r.d], notRecorded)
		m.emit(r, "cannot record that the person was asked", &n)
	}
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		m.finish(&n, &n.run[r.i][r.d], byLedger)
		m.emit(r, "cannot load the hold, and gives up", &n)
	}
	n := *s
	n.hold[r.i].facts |= askInJournal
	q := &n.run[r.i][r.d]
	doc := s.doc[m.key[r.i]]
	k := m.rec(doc)
	next, err := m.step(doc, event{kind: hold.EventAsked}, s.now)
	switch {
	case err == nil && doc != 0 && k.hold == r.i:
		q.loaded(rAsked, next)
		m.emit(r, "records that the person was asked, and loads the hold", &n)
	case doc != 0 && k.hold == r.i && k.rec.State == hold.Pending && k.rec.Transaction != "" && m.c.Bugs&OwnChangeIsForeign == 0:
		q.to(rWait)
		m.emit(r, "finds that the hold has its transaction", &n)
	default:
		m.finish(&n, q, byNothing)
		m.emit(r, "finds the hold over", &n)
	}
}

func (m *model) asked(s *state, r ref) {
	next := s.run[r.i][r.d].next
	key := m.key[r.i]
	m.store(s, r, key, true, func(n *state) {
		m.put(n, key, next, r)
		n.run[r.i][r.d].to(rWait)
	}, func(n *state) {
		n.run[r.i][r.d].to(rAsk)
	}, func(n *state) {
		m.finish(n, &n.run[r.i][r.d], byLedger)
	})
}

// await waits for the person's answer.
func (m *model) await(s *state, r ref) {
	p := &s.run[r.i][r.d]
	if m.interrupted(s, p) {
		n := *s
		m.finish(&n, &n.run[r.i][r.d], byNothing)
		m.emit(r, "learns that the hold is over", &n)
	}
	if h := &s.hold[r.i]; h.shows == replied || h.shows == ended {
		n := *s
		q := &n.run[r.i][r.d]
		q.set(answered)
		if q.verdict = h.verdict; h.shows == ended {
			q.verdict = uint8(providers.Unavailable)
		}
		m.finish(&n, q, byOutcome)
		m.emit(r, "has the person's answer", &n)
	}
	if s.left[unknown] > 0 {
		n := m.fail(s, unknown)
		n.excused = s.excused
		m.finish(&n, &n.run[r.i][r.d], byUnknown)
		m.choose(r, "loses the provider", &n)
	}
}

// finish begins Desk.finish: the person's push ends before the hold does.
func (m *model) finish(n *state, p *proc, end uint8) {
	p.end = end
	lost := p.pc == rStart && end == byUnknown || end == byLoss // no handle to take it back by
	p.to(rRelease)
	if p.is(asked) && !p.is(answered) {
		if m.c.Cancels && !lost {
			p.pc = rTakeBack
		} else {
			p.set(rings)
		}
	}
	if !p.is(claimed) {
		m.finished(n, p)
	}
}

// finished goes on when the person's push is given back.
func (m *model) finished(n *state, p *proc) {
	p.clear(rings | cut | asked | answered | claimed)
	switch p.end {
	case byNothing:
		p.over(rNone)
	case notRecorded:
		m.giveUp(n, p.hold, p.desk)
		p.to(rEnd)
		p.set(recorded)
	default:
		p.to(rEnd)
	}
}

func (m *model) takeBack(s *state, r ref) {
	n := *s
	n.run[r.i][r.d].to(rRelease)
	if n.hold[r.i].shows == ringing {
		n.hold[r.i].shows = ended
	}
	m.emit(r, "takes the push back", &n)
	if s.left[unknown] > 0 {
		n = m.fail(s, unknown)
		n.excused = s.excused
		q := &n.run[r.i][r.d]
		q.to(rRelease)
		q.set(rings)
		m.emit(r, "cannot take the push back", &n)
	}
}

// giveBack is Desk.release. It is one step: it reads nothing that it does not replace by compare-and-set.
func (m *model) giveBack(s *state, r ref) {
	p := &s.run[r.i][r.d]
	n := *s
	doc := &n.person[m.who[r.i]]
	if doc.open&(1<<r.i) != 0 {
		doc.open &^= 1 << r.i
		if doc.holder == 1+r.i {
			doc.holder, doc.until = 0, 0
		}
		if p.is(asked) {
			wait := interval
			if p.is(rings) && m.c.Bugs&ReleaseWhileRinging == 0 {
				wait = max(interval, ringTime)
			}
			doc.next = m.first(m.time(n.now).Add(wait))
		}
		m.personStored(&n, m.who[r.i])
	}
	m.finished(&n, &n.run[r.i][r.d])
	m.emit(r, "gives the person's push back", &n)
	if s.left[failures] > 0 {
		n = m.fail(s, failures)
		m.finished(&n, &n.run[r.i][r.d])
		m.emit(r, "cannot give the person's push back", &n)
	}
}

// personStored makes what others loaded of a person stale.
func (m *model) personStored(n *state, who uint8) {
	for h := range n.run {
		for d := range n.run[h] {
			if p := &n.run[h][d]; p.pc == rClaim && m.who[h] == who {
				p.clear(fresh)
			}
		}
	}
}

// canSay reports whether a person may answer v on the phone; a push that nobody answers times out by itself.
func (m *model) canSay(v providers.Verdict) bool {
	return !slices.Contains([]providers.Verdict{providers.NotEnrolled, providers.LockedOut, providers.TimedOut}, v)
}
