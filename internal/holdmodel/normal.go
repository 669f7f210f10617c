package holdmodel

import (
	"time"

	"countersign/internal/hold"
)

// normal forgets what no step and no property looks at any more, so that states which differ in nothing else are one.
func (m *model) normal(n *state) {
	for d := range n.dead {
		if n.dead[d] > 1 && !m.within(n, n.dead[d]-1, leaseTime) {
			n.dead[d] = 1
		}
	}
	for h := range m.n {
		p := &n.hold[h]
		k := m.rec(n.doc[m.key[h]])
		here := k.hold == h && k.rec.State != hold.Unopened
		if p.shows >= replied && (!here || k.rec.State != hold.Pending) && !m.runs(n, h) {
			p.shows, p.verdict, p.at, p.until = ended, 0, 0, 0
		}
		if here && k.rec.State.Final() {
			p.journal, p.runs = 0, 0
		}
		if here || m.concerns(n, h) {
			continue
		}
		left := push{shows: p.shows, until: p.until}
		if p.sent > 0 && p.facts&answerKnown == 0 {
			left.sent, left.redeemer = p.sent, p.redeemer
		}
		*p = left
	}
}

func (m *model) runs(n *state, h uint8) bool {
	for d := range n.run[h] {
		if n.run[h][d].pc != rNone {
			return true
		}
	}
	return false
}

// concerns reports whether any process has to do with a hold.
func (m *model) concerns(n *state, h uint8) bool {
	for i := range n.x {
		if p := &n.x[i]; p.hold == h && p.pc > xAttach && p.pc < xGone {
			return true
		}
	}
	return m.runs(n, h) || n.clock[h].pc == cBusy || n.op.pc == cBusy && n.op.hold == h
}

// within reports whether less than d has passed since a moment.
func (m *model) within(n *state, at uint8, d time.Duration) bool {
	return m.time(n.now).Sub(m.time(at)) < d
}
