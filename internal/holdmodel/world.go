package holdmodel

import (
	"time"

	"countersign/internal/hold"
	"countersign/providers"
)

// successors emits every state that one step of one process makes of s.
func (m *model) successors(s *state) {
	m.busy = false
	m.begin(s)
	for i := range m.n {
		m.exchange(s, i)
		for d := range uint8(maxDesks) {
			m.runner(s, i, d)
		}
		m.tick(s, i)
		m.phone(s, i)
	}
	m.operator(s)
	m.crash(s)
	m.stall(s)
	m.advance(s)
}

// begin lets the next exchange arrive at a replica.
func (m *model) begin(s *state) {
	if s.now > m.lastStart {
		return
	}
	for i := range m.n {
		if s.x[i].begun() {
			continue
		}
		for d := range uint8(maxDesks) {
			want := m.c.Exchanges[i].Desk
			switch {
			case s.dead[d] != 0, want != 0 && want != int(d)+1:
				continue
			case m.c.Alone && d > 0 && s.dead[0] == 0:
				continue // the second life of a replica begins after the first
			case i == 0 && want == 0 && d > 0 && s.dead[0] == 0:
				continue // the replicas are alike
			}
			n := *s
			n.x[i] = proc{pc: xAttach, desk: d}
			m.choose(ref{anExchange, i, 0}, "arrives", &n)
		}
		return
	}
}

// tick is the hold's own clock, at the desk that runs it.
func (m *model) tick(s *state, h uint8) {
	r := ref{aClock, h, 0}
	if s.clock[h].pc == cBusy {
		m.conclude(s, r)
		return
	}
	doc := s.doc[m.key[h]]
	k := m.rec(doc)
	if doc == 0 || k.hold != h || m.c.Bugs&NoClock != 0 {
		return
	}
	end := byNothing
	rec, now := &k.rec, m.time(s.now)
	switch {
	case rec.State == hold.Pending && !now.Before(rec.ExpiresAt):
		end = byTime
	case rec.State == hold.Pending && rec.Caller == "" && !rec.LeftAt.IsZero() && !rec.Async && !now.Before(rec.LeftAt.Add(rec.Resume)):
		end = byAbsence
	case rec.State == hold.Approved && m.lapsed(k, s.now):
		end = byLapse
	}
	for d := range uint8(maxDesks) {
		if end == byNothing || s.hold[h].runs&(1<<d) == 0 {
			continue
		}
		n := *s
		n.clock[h] = proc{pc: cBusy, desk: d, hold: h, end: end}
		m.emit(r, "is due", &n)
	}
}

// phone is the person, who answers what the phone shows.
func (m *model) phone(s *state, h uint8) {
	if s.hold[h].shows != ringing {
		return
	}
	for _, v := range m.c.Verdicts {
		if !m.canSay(v) {
			continue
		}
		n := *s
		p := &n.hold[h]
		p.shows, p.verdict, p.at = replied, uint8(v), n.now
		if v == providers.Approved {
			p.facts |= personAgreed
		}
		m.choose(ref{thePhone, h, 0}, "answers: "+v.String(), &n)
	}
}

// operator withdraws a live hold, through the first replica that lives.
func (m *model) operator(s *state) {
	r := ref{kind: anOperator}
	if s.op.pc == cBusy {
		m.conclude(s, r)
		return
	}
	if s.left[withdrawals] == 0 {
		return
	}
	desk := uint8(0)
	if s.dead[0] != 0 {
		desk = 1
	}
	for _, doc := range s.doc {
		if k := m.rec(doc); k.rec.State.Live() {
			n := *s
			n.left[withdrawals]--
			n.op = proc{pc: cBusy, desk: desk, hold: k.hold, end: byOperator}
			m.choose(r, "withdraws", &n)
		}
	}
}

// crash ends a replica in the middle of whatever it does.
func (m *model) crash(s *state) {
	if s.left[crashes] == 0 {
		return
	}
	for d := range uint8(maxDesks) {
		if s.dead[d] != 0 || m.c.Alone && d > 0 {
			continue
		}
		n := m.fail(s, crashes)
		n.dead[d] = 1 + n.now
		for i := range n.x {
			if p := &n.x[i]; p.begun() && p.pc != xGone && p.desk == d {
				p.over(xDead)
			}
			n.run[i][d].over(rNone)
			n.hold[i].runs &^= 1 << d
			if n.clock[i].desk == d {
				n.clock[i].over(cIdle)
			}
		}
		if n.op.desk == d {
			n.op.over(cIdle)
		}
		if m.c.Forgets {
			m.forget(&n)
		}
		m.choose(ref{theWorld, d, 0}, "crashes", &n)
	}
}

// forget loses the ledger, and seeds the next one from the journal: Desk.Seed.
func (m *model) forget(n *state) {
	n.doc, n.person = [maxKeys]uint16{}, [maxKeys]person{}
	for i := range m.n {
		if n.journaled[i] == 0 || n.completed&(1<<i) != 0 {
			continue
		}
		x := m.c.Exchanges[i]
		n.doc[m.key[i]] = m.intern(hold.Record{
			ID: holdID(n.redeems[i]), Key: m.keyOf(x), State: hold.Spent, SpentAt: m.time(n.journaled[i] - 1), Redeemer: "crashed", Resume: m.c.Resume,
		})
	}
}

// stall lets the lease of a replica lapse that still lives.
func (m *model) stall(s *state) {
	if s.left[stalls] == 0 {
		return
	}
	for d := range uint8(maxDesks) {
		if s.dead[d] == 0 {
			n := m.fail(s, stalls)
			n.stalled |= 1 << d
			m.choose(ref{theWorld, d, 0}, "stalls: its lease lapses", &n)
		}
	}
}

// advance moves the clock on: freely when everybody waits for a person, a caller or the clock, and at most Slow times while
// somebody is in the middle of something.
func (m *model) advance(s *state) {
	if s.now+1 >= m.moments || !s.x[0].begun() || m.busy && (s.left[slow] == 0 || m.hurried(s)) {
		return
	}
	n := *s
	n.now++
	if m.busy {
		n.left[slow]--
	}
	for w := range n.person {
		p := &n.person[w]
		if n.now >= p.until {
			p.holder, p.until = 0, 0
		}
		if n.now >= p.next {
			p.next = 0
		}
	}
	for h := range n.hold {
		if p := &n.hold[h]; p.shows == ringing && n.now >= p.until {
			p.shows, p.verdict, p.at = replied, uint8(providers.TimedOut), n.now
		}
	}
	m.choose(ref{kind: theWorld}, "the clock moves on", &n)
}

// hurried reports whether something is under way that takes no time: between taking a person's push and starting it nothing
// waits, unless the replica stalls. And who begins at the last moment does so then, so that every hold ends before the clock.
func (m *model) hurried(s *state) bool {
	for i := range s.x {
		if pc := s.x[i].pc; s.now >= m.lastStart && pc >= xAttach && pc < xWait {
			return true
		}
		for d := range s.run[i] {
			if pc := s.run[i][d].pc; m.c.Stalls == 0 && (pc == rClaim || pc == rStart) {
				return true
			}
		}
	}
	return false
}

// pending is how long after its hold's end a push counts as pending if nobody gives it back.
func (m *model) pending() time.Duration {
	if m.c.Bugs&PushForgottenAtEnd != 0 {
		return pushGrace
	}
	return ringTime + pushGrace
}
