package holdmodel

import (
	"countersign/internal/hold"
)

// exchange is the next step of one exchange: Desk.Attach, Attachment.Wait, the proxy's release, Desk.Redeem, the request
// itself, Desk.Answered and Attachment.Leave.
func (m *model) exchange(s *state, i uint8) {
	r := ref{anExchange, i, 0}
	switch s.x[i].pc {
	case xAttach:
		m.attach(s, r)
	case xConclude, xOverdue:
		m.conclude(s, r)
	case xEnter:
		m.enter(s, r)
	case xOpen:
		m.create(s, r)
	case xOpened:
		m.opened(s, r)
	case xRemove:
		m.remove(s, r)
	case xWait:
		m.wait(s, r)
	case xRelease:
		m.release(s, r)
	case xRedeem:
		m.redeem(s, r)
	case xSpend:
		m.spend(s, r)
	case xSend:
		m.send(s, r)
	case xAnswer, xLeave:
		m.change(s, r)
	case xAnswered, xLeft:
		m.changed(s, r)
	}
}

// attach loads the hold and does what Desk.join makes of it.
func (m *model) attach(s *state, r ref) {
	p := &s.x[r.i]
	if s.left[failures] > 0 {
		n := m.fail(s, failures)
		n.x[r.i].over(xGone)
		m.emit(r, "cannot load the hold, and is refused", &n)
	}
	doc := s.doc[m.key[r.i]]
	k := m.rec(doc)
	if k.rec.State == hold.Unopened {
		m.open(s, r, "finds no hold: opens one")
		return
	}
	if end := m.overdue(k, s.now); end != byNothing {
		n := *s
		q := &n.x[r.i]
		q.pc, q.hold, q.end = xConclude, k.hold, end
		m.emit(r, "finds a hold that is overdue", &n)
		return
	}
	caller, owner := m.whoIsGone(s, k, p.desk)
	if owner && k.owner == p.desk+1 {
		m.open(s, r, "finds a hold of its own desk that nobody runs: opens another")
		return
	}
	next, err := m.step(doc, event{kind: hold.EventAttached, who: r.i, desk: p.desk, gone: caller}, s.now)
	if err == nil && k.rec.State.Final() && m.c.Bugs&ForgetUndelivered != 0 {
		err = hold.ErrTransition
	}
	if err == hold.ErrTransition { //nolint:errorlint // step returns the sentinels themselves
		m.open(s, r, "finds a hold that is over: opens another")
		return
	}
	n := *s
	q := &n.x[r.i]
	if err != nil {
		q.over(xGone)
		m.emit(r, refusals[err], &n)
		return
	}
	if owner {
		if next, err = m.step(next, event{kind: hold.EventAdopted, desk: p.desk}, s.now); err != nil {
			panic(err) // a pending hold of a desk that is gone
		}
		q.set(adopts)
	}
	q.hold = k.hold
	q.loaded(xEnter, next)
	q.set(token)
	n.stalled &^= 1 << p.desk // ensureLease
	m.emit(r, "loads the hold, to attach", &n)
}

var refusals = map[error]string{
	hold.ErrDuplicate:      "is refused: duplicate_in_flight",
	hold.ErrOutcomeUnknown: "is refused: outcome_unknown",
}

func (m *model) open(s *state, r ref, what string) {
	d := s.x[r.i].desk
	next, err := m.step(0, event{kind: hold.EventOpened, who: r.i, desk: d, at: s.now}, s.now)
	if err != nil {
		panic(err) // the opening is well formed
	}
	n := *s
	n.x[r.i].hold = r.i
	n.x[r.i].loaded(xOpen, next)
	n.x[r.i].set(token)
	n.stalled &^= 1 << d
	m.emit(r, what, &n)
}

// overdue says how a hold ends that the clock alone ends.
func (m *model) overdue(k *known, now uint8) uint8 {
	switch t := m.time(now); {
	case k.rec.State == hold.Approved && m.lapsed(k, now):
		return byLapse
	case k.rec.State == hold.Pending && t.After(k.rec.ExpiresAt.Add(pushGrace)):
		return byTime
	default:
		return byNothing
	}
}

func (m *model) lapsed(k *known, now uint8) bool {
	return k.rec.Evidence == nil || m.time(now).Sub(k.rec.Evidence.ApprovedAt) > k.rec.Resume
}

// whoIsGone says whether the caller, or redeemer, and the owner on record are known not to be there any more.
func (m *model) whoIsGone(s *state, k *known, d uint8) (caller, owner bool) {
	if k.rec.State == hold.Spent && k.rec.AnsweredAt.IsZero() {
		return m.redeemerGone(s, k, d), false
	}
	if k.caller != 0 {
		p := &s.x[k.caller-1]
		desk := k.rec.Caller[1] - '0'
		if desk == d {
			caller = p.desk != d || !p.is(token) || p.hold != k.hold
		} else {
			caller = !m.alive(s, desk)
		}
		caller = caller || m.c.Bugs&SecondCaller != 0
	}
	if k.rec.State == hold.Pending {
		if owner = !m.alive(s, k.owner-1); k.owner == d+1 {
			owner = s.hold[k.hold].runs&(1<<d) == 0
		} else if m.c.Bugs&AdoptLiveOwner != 0 {
			owner = true
		}
	}
	return caller, owner
}

func (m *model) redeemerGone(s *state, k *known, d uint8) bool {
	switch k.redeemer {
	case 0:
		return true // one that crashed before this ledger began
	case d + 1:
		return !m.redeeming(s, k.hold, d)
	default:
		return !m.alive(s, k.redeemer-1)
	}
}

// redeeming reports whether a desk has a redemption of the hold on the way.
func (m *model) redeeming(s *state, h, d uint8) bool {
	for i := range s.x {
		if p := &s.x[i]; p.redeeming() && p.hold == h && p.desk == d {
			return true
		}
	}
	return false
}

// alive reports whether another desk has a fresh lease.
func (m *model) alive(s *state, d uint8) bool {
	if m.c.Alone || s.stalled&(1<<d) != 0 {
		return false
	}
	return s.dead[d] == 0 || m.within(s, s.dead[d]-1, leaseTime)
}

func (m *model) enter(s *state, r ref) {
	p := s.x[r.i]
	key := m.key[r.i]
	m.store(s, r, key, false, func(n *state) {
		m.put(n, key, p.next, r)
		q := &n.x[r.i]
		q.to(xWait)
		q.clear(adopts)
		if p.is(adopts) {
			m.adopted(n, p.hold, p.desk)
		}
	}, func(n *state) {
		n.x[r.i] = proc{pc: xAttach, desk: p.desk}
	}, func(n *state) {
		n.x[r.i].over(xGone)
	})
}

func (m *model) create(s *state, r ref) {
	p := s.x[r.i]
	key := m.key[r.i]
	m.store(s, r, key, false, func(n *state) {
		m.put(n, key, p.next, r)
		n.hold[r.i].runs |= 1 << p.desk
		n.hold[r.i].opened = m.first(m.rec(p.next).rec.OpenedAt)
		n.x[r.i].to(xOpened)
	}, func(n *state) {
		n.x[r.i] = proc{pc: xAttach, desk: p.desk}
	}, func(n *state) {
		n.x[r.i] = proc{pc: xRemove, desk: p.desk}
	})
}

func (m *model) opened(s *state, r ref) {
	p := s.x[r.i]
	start := func(n *state) {
		n.run[r.i][p.desk] = proc{pc: rQueue, desk: p.desk, hold: r.i}
		n.x[r.i].to(xWait)
	}
	n := *s
	n.hold[r.i].facts |= inJournal
	start(&n)
	m.emit(r, "records the hold and starts it", &n)
	if s.left[unrecorded] == 0 {
		return
	}
	n = m.fail(s, unrecorded)
	if m.c.Bugs&AskNotRecorded != 0 {
		start(&n)
	} else {
		n.hold[r.i].runs &^= 1 << p.desk
		n.x[r.i] = proc{pc: xRemove, desk: p.desk}
	}
	m.emit(r, "cannot record the hold", &n)
}

// remove takes back a hold that was never started, or fails to.
func (m *model) remove(s *state, r ref) {
	key := m.key[r.i]
	n := *s
	n.x[r.i].over(xGone)
	m.emit(r, "leaves what it may have stored", &n)
	if k := m.rec(s.doc[key]); s.doc[key] != 0 && k.hold == r.i && k.rec.State == hold.Pending {
		n = *s
		n.x[r.i].over(xGone)
		m.put(&n, key, 0, r)
		m.emit(r, "removes what it stored", &n)
	}
}
