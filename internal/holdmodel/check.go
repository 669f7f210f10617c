package holdmodel

import (
	"time"

	"countersign/internal/hold"
)

// bad notes that the step which is about to be emitted breaks a property.
func (m *model) bad(what string) {
	if m.broken == "" {
		m.broken = what
	}
}

// put stores a hold in place of what is there, and makes what others loaded of it stale. What is there may be anything: that
// it is what the process loaded is the caller's business.
func (m *model) put(n *state, key uint8, next uint16, r ref) {
	m.replaces(n, m.rec(n.doc[key]), m.rec(next), r)
	n.doc[key] = next
	m.everyProc(n, func(p *proc, of uint8) {
		if m.key[of] == key {
			p.clear(fresh)
		}
	})
}

// everyProc visits every process that loads holds, with an exchange of the hold key that it loads.
func (m *model) everyProc(n *state, visit func(p *proc, of uint8)) {
	for i := range m.n {
		if p := &n.x[i]; p.is(fresh) {
			visit(p, i)
		}
		for d := range n.run[i] {
			if p := &n.run[i][d]; p.is(fresh) && p.pc != rClaim {
				visit(p, i)
			}
		}
		if p := &n.clock[i]; p.is(fresh) {
			visit(p, i)
		}
	}
	if n.op.is(fresh) {
		visit(&n.op, n.op.hold)
	}
}

// replaces checks what the ledger has in place of what, in the words of the design and not of Step.
func (m *model) replaces(n *state, was, is *known, r ref) {
	a, b := &was.rec, &is.rec
	switch {
	case b.State == hold.Unopened:
		if a.State != hold.Pending || !a.AskedAt.IsZero() {
			m.bad("I1: a hold is removed that was started")
		}
		return
	case a.ID != b.ID:
		m.unknownOutcome(n, is.hold)
		m.supersedes(n, was, r)
		return
	}
	if a.State != b.State {
		m.moves(n, was, is)
	}
	if a.AskedAt.IsZero() && !b.AskedAt.IsZero() && n.hold[is.hold].facts&askInJournal == 0 {
		m.bad("I9: a person was asked, and the journal does not have it")
	}
	if a.Owner != b.Owner && n.dead[was.owner-1] == 0 && m.c.Stalls == 0 {
		m.bad("resume: a hold is taken from an owner that lives")
	}
}

// moves checks a change of state.
func (m *model) moves(n *state, was, is *known) {
	from, to := was.rec.State, is.rec.State
	legal := false
	switch from {
	case hold.Pending:
		legal = to != hold.Unopened && to != hold.Spent && to != hold.Expired
	case hold.Approved:
		legal = to == hold.Spent || to == hold.Expired || to == hold.Withdrawn
	case hold.Unopened, hold.Spent, hold.Denied, hold.TimedOut, hold.Fraud, hold.NotEnrolled, hold.LockedOut, hold.Unavailable,
		hold.Withdrawn, hold.Expired:
	default:
	}
	h := &n.hold[is.hold]
	switch {
	case !legal:
		m.bad("states: " + from.String() + " becomes " + to.String())
	case to == hold.Approved && h.facts&personAgreed == 0:
		m.bad("I7: a hold is approved and its person did not agree")
	case to != hold.Spent && h.journal&(1<<to) == 0 && is.rec.Detail != faults[notRecorded]:
		m.bad("I9: a hold ends in the ledger before the journal has it")
	}
}

// supersedes checks that a new hold may take the place of the one on record: the table of design §3.
func (m *model) supersedes(n *state, was *known, r ref) {
	a := &was.rec
	now := m.time(n.now)
	h := &n.hold[was.hold]
	switch a.State {
	case hold.Unopened, hold.Expired:
	case hold.Pending:
		if was.owner != n.x[r.i].desk+1 || h.runs&(1<<(was.owner-1)) != 0 {
			m.bad("table: a pending hold is given up for a new one")
		}
	case hold.Approved:
		m.bad("table: an approved hold is given up for a new one")
	case hold.Spent:
		if a.AnsweredAt.IsZero() && now.Sub(a.SpentAt) < hold.OutcomeUnknownFor {
			m.bad("I12: a request of which nobody knows what became is asked for again within ten minutes")
		}
	case hold.Denied, hold.TimedOut, hold.Fraud, hold.NotEnrolled, hold.LockedOut, hold.Unavailable:
		m.mustGive(a, h, now)
	case hold.Withdrawn:
		if a.By != "" {
			m.mustGive(a, h, now)
		}
	default:
		m.bad("states: a hold in a state that nobody knows")
	}
}

// unknownOutcome checks that no request is asked for again which was sent a while ago and may have been executed.
func (m *model) unknownOutcome(n *state, opens uint8) {
	for h := range m.n {
		p := &n.hold[h]
		if m.key[h] != m.key[opens] || p.sent == 0 || p.facts&answerKnown != 0 || p.redeemer == 0 {
			continue
		}
		if at := n.journaled[p.redeemer-1]; at != 0 && m.within(n, at-1, hold.OutcomeUnknownFor) {
			m.bad("I12: a request of which nobody knows what became is asked for again within ten minutes")
		}
	}
}

func (m *model) mustGive(a *hold.Record, h *push, now time.Time) {
	if !a.Delivered && h.given == 0 && now.Sub(a.SettledAt) <= a.Resume {
		m.bad("table: an outcome that nobody received is withheld")
	}
}

// check looks at one state by itself.
func (m *model) check(s *state) string {
	var shown, waiting [maxExchanges]int
	for i := range m.n {
		if s.hold[i].shows == ringing {
			shown[m.who[i]]++
		}
		if p := &s.x[i]; p.attached() {
			waiting[p.hold]++
		}
	}
	for i := range m.n {
		switch {
		case shown[i] > 1 && !m.mayRingTwice(s):
			return "I10: a phone shows two pushes"
		case waiting[i] > 1 && m.c.Stalls == 0:
			return "table: two callers are attached to one hold"
		}
	}
	for _, doc := range s.doc {
		if m.unheard(s, m.rec(doc)) {
			return "resume: the person was asked, and nobody waits for the answer"
		}
	}
	return ""
}

// mayRingTwice excuses what no ledger can prevent: a replica that sleeps between taking a push and starting it, and a ledger
// that is gone.
func (m *model) mayRingTwice(s *state) bool {
	return m.c.Stalls > int(s.left[stalls]) || m.c.Forgets && s.dead[0] != 0
}

// unheard reports whether the owner of a hold lives and runs it, and has no ear for the person's answer.
func (m *model) unheard(s *state, k *known) bool {
	if k.rec.State != hold.Pending || k.rec.Transaction == "" || !m.time(s.now).Before(k.rec.ExpiresAt) {
		return false
	}
	d := k.owner - 1
	return s.hold[k.hold].runs&(1<<d) != 0 && s.run[k.hold][d].pc == rNone
}

// stuck says what is wrong with a state that has no successor: everybody must have an answer, and every hold that somebody
// runs an end. One that nobody runs ends when somebody looks at it.
func (m *model) stuck(s *state) string {
	for i := range m.n {
		switch pc := s.x[i].pc; {
		case pc != xIdle && pc != xGone && pc != xDead:
			return "progress: an exchange never ends"
		}
		for d := range s.run[i] {
			if s.run[i][d].pc != rNone {
				return "progress: a runner never ends"
			}
		}
	}
	for _, doc := range s.doc {
		k := m.rec(doc)
		if !k.rec.State.Live() {
			continue
		}
		if s.hold[k.hold].runs != 0 {
			return "progress: a hold never ends"
		}
		if m.overdue(k, s.now) == byNothing {
			return "progress: a hold that nobody runs is not overdue in the end"
		}
	}
	return ""
}
