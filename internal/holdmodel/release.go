package holdmodel

import (
	"countersign/internal/hold"
)

// wait is a caller who waits for the outcome. It sees the hold at any time after it ended, however late.
func (m *model) wait(s *state, r ref) {
	p := &s.x[r.i]
	doc := s.doc[m.key[r.i]]
	k := m.rec(doc)
	switch {
	case doc == 0 && m.time(s.now).After(m.expires(s, p.hold).Add(pushGrace)): // a removed hold is told to nobody: its time ends the wait
		n := *s
		m.leave(&n, r.i, false, true)
		m.emit(r, "finds no hold any more", &n)
	case doc == 0:
	case k.hold != p.hold:
		n := *s
		m.leave(&n, r.i, false, false)
		m.emit(r, "learns that another hold took its place", &n)
	case k.rec.State == hold.Approved:
		n := *s
		n.x[r.i].to(xRelease)
		m.emit(r, "sees the approval", &n)
	case k.rec.State != hold.Pending:
		n := *s
		n.hold[p.hold].given++
		if n.hold[p.hold].given > 1 && n.excused == 0 {
			m.bad("table: an outcome is given twice")
		}
		m.leave(&n, r.i, true, false)
		m.emit(r, "gives its caller the outcome", &n)
		m.depart(s, r, false, "loses its caller before the outcome is given")
	case m.time(s.now).After(k.rec.ExpiresAt.Add(pushGrace)):
		n := *s
		q := &n.x[r.i]
		q.pc, q.end = xOverdue, byTime
		m.emit(r, "finds the hold overdue", &n)
	}
	m.depart(s, r, true, "loses its caller, having seen nothing yet")
	if s.left[deferrals] > 0 {
		n := *s
		n.left[deferrals]--
		n.x[r.i].set(async)
		m.leave(&n, r.i, false, true)
		m.choose(r, "is left by a caller who will come back", &n)
	}
}

func (m *model) depart(s *state, r ref, live bool, what string) {
	if s.left[departures] == 0 {
		return
	}
	n := *s
	n.left[departures]--
	m.leave(&n, r.i, false, live)
	m.choose(r, what, &n)
}

// leave begins Attachment.Leave. live says that the desk last saw a hold that is not over: then it forgets the attachment
// at once, so that a fast retry may have its place; otherwise only when the ledger knows, lest the outcome be given to two.
func (m *model) leave(n *state, i uint8, given, live bool) {
	p := &n.x[i]
	flags := p.flags & async
	if given {
		flags |= delivered
	}
	if !live {
		flags |= token
	}
	*p = proc{pc: xLeave, desk: p.desk, hold: p.hold, flags: flags}
	if n.journaled[i] != 0 {
		n.completed |= 1 << i
	}
}

// release is the proxy's: the policy agrees and the upstream is connected, or else the caller is refused as if it left.
// Then the redemption is recorded.
func (m *model) release(s *state, r ref) {
	m.depart(s, r, true, "is refused after the approval, by policy or upstream, or loses its caller")
	if s.left[unrecorded] > 0 {
		n := m.fail(s, unrecorded)
		m.leave(&n, r.i, false, true)
		m.emit(r, "cannot record the redemption", &n)
	}
	n := *s
	if m.c.Bugs&RedeemedNotRecorded == 0 {
		n.journaled[r.i], n.redeems[r.i] = 1+s.now, n.x[r.i].hold
	}
	n.x[r.i].to(xRedeem)
	if m.c.Bugs&SendBeforeRedeem != 0 {
		n.x[r.i].to(xSend)
	}
	m.emit(r, "records the redemption", &n)
}

func (m *model) redeem(s *state, r ref) {
	p := &s.x[r.i]
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		m.leave(&n, r.i, false, true)
		m.emit(r, "cannot load the hold, and is refused", &n)
	}
	doc := s.doc[m.key[r.i]]
	k := m.rec(doc)
	n := *s
	n.stalled &^= 1 << p.desk
	if doc == 0 || k.hold != p.hold || m.redeeming(s, p.hold, p.desk) {
		m.leave(&n, r.i, false, k.rec.State.Live())
		m.emit(r, "is refused: approval_spent", &n)
		return
	}
	next, err := m.step(doc, event{kind: hold.EventRedeemed, who: r.i, desk: p.desk, altered: m.c.Exchanges[r.i].Altered}, s.now)
	if err != nil {
		m.leave(&n, r.i, false, k.rec.State.Live())
		m.emit(r, "is refused: approval_spent", &n)
		return
	}
	n.x[r.i].loaded(xSpend, next)
	if m.lapsed(k, s.now) {
		m.bad("I1: an approval is redeemed later than resume allows")
	}
	if k.rec.Evidence == nil || k.rec.Evidence.Approver.ID != m.c.Exchanges[r.i].Requester {
		m.bad("I6: somebody else's approval is redeemed")
	}
	m.emit(r, "loads the hold, to redeem", &n)
}

func (m *model) spend(s *state, r ref) {
	p := s.x[r.i]
	key := m.key[r.i]
	m.store(s, r, key, false, func(n *state) {
		m.put(n, key, p.next, r)
		n.hold[p.hold].redeemer = 1 + r.i
		n.x[r.i].to(xSend)
		if n.hold[p.hold].sent > 0 && m.c.Bugs&SendBeforeRedeem != 0 {
			n.x[r.i].to(xAnswer)
		}
	}, func(n *state) {
		n.x[r.i].to(xRedeem)
	}, func(n *state) {
		if m.c.Bugs&RedeemOnError != 0 {
			n.x[r.i].to(xSend)
			return
		}
		m.leave(n, r.i, false, true)
	})
}

// send writes the first octet of the request upstream. There is no way back from it.
func (m *model) send(s *state, r ref) {
	p := &s.x[r.i]
	n := *s
	h := &n.hold[p.hold]
	h.sent++
	n.x[r.i].to(xAnswer)
	if m.c.Bugs&SendBeforeRedeem != 0 {
		n.x[r.i].to(xRedeem)
	}
	opener := m.c.Exchanges[p.hold]
	switch x := m.c.Exchanges[r.i]; {
	case h.facts&personAgreed == 0:
		m.bad("I1: a request is sent that nobody approved")
	case h.redeemer != 1+r.i:
		m.bad("I3: a request is sent though its exchange did not spend the approval")
	case h.sent > 1:
		m.bad("I3: one approval releases two requests")
	case x.Altered || x.Body != opener.Body:
		m.bad("I2: other octets are sent than were approved")
	case x.Requester != opener.Requester:
		m.bad("I6: one person's approval releases another's request")
	case n.journaled[r.i] == 0:
		m.bad("I9: a request is sent before its redemption is in the journal")
	}
	m.emit(r, "SENDS the request upstream", &n)
}

// change is the load of Desk.change, for an exchange that notes upstream's answer or leaves.
func (m *model) change(s *state, r ref) {
	p := &s.x[r.i]
	noting := p.pc == xAnswer
	after := func(n *state) {
		if noting {
			m.leave(n, r.i, true, false)
		} else {
			n.x[r.i].over(xGone)
		}
	}
	base := *s
	ev, what, pc := event{kind: hold.EventLeft, who: r.i, desk: p.desk, async: p.is(async)}, "loads the hold, to leave", xLeft
	if p.is(delivered) {
		ev.kind = hold.EventDelivered
	}
	if noting {
		base.hold[p.hold].facts |= answerKnown
		ev, what, pc = event{kind: hold.EventAnswered}, "has upstream's answer and loads the hold, to note it", xAnswered
	}
	if s.left[failures] > 0 {
		n := m.fail(&base, failures)
		after(&n)
		m.emit(r, "cannot load the hold, and gives up", &n)
	}
	n := base
	doc := s.doc[m.key[r.i]]
	if doc == 0 || m.rec(doc).hold != p.hold {
		after(&n)
		m.emit(r, what+": another one is there", &n)
		return
	}
	next, err := m.step(doc, ev, s.now)
	if err != nil {
		after(&n)
		m.emit(r, what+": it is known already", &n)
		return
	}
	n.x[r.i].loaded(pc, next)
	m.emit(r, what, &n)
}

func (m *model) changed(s *state, r ref) {
	p := s.x[r.i]
	key := m.key[r.i]
	after := func(n *state) {
		if p.pc == xAnswered {
			m.leave(n, r.i, true, false)
		} else {
			n.x[r.i].over(xGone)
		}
	}
	m.store(s, r, key, true, func(n *state) {
		m.put(n, key, p.next, r)
		after(n)
	}, func(n *state) {
		n.x[r.i].to(p.pc - 1)
	}, after)
}
